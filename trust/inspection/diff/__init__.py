"""Two runs side by side: `gossipllm trust diff`."""
