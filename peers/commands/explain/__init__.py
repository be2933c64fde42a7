"""`gossipllm trust explain`: what is recorded of a weight and, where the adapters are kept, what can be measured again.

The command is in `peers` because it reads homes and opens a learner; the pure part is `trust.inspection.explain`.
"""
