"""`gossipllm trust explain`: what is recorded of a weight, and, where the adapters are at hand, what measuring adds.

It stands here because a peer's home and its learner are known here; the pure part is `trust.inspection.explain`.
"""
