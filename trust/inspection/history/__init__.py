"""`gossipllm trust history`: the weights of one peer's row over the rounds."""
