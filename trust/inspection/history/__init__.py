"""How a row moved over the rounds: the curves of `gossipllm trust history`."""
