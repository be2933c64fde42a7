"""`gossipllm trust export`: writes a run in formats for other programs."""
