"""Read-only commands on trust histories: `gossipllm trust show`, `watch`, `history`, `diff`, `export` and `explain`.

Input is the history files that peers and the simulator wrote.
"""
