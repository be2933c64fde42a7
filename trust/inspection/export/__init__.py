"""A run for other programs: `gossipllm trust export`."""
