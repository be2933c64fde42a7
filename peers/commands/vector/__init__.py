"""The command `gossipllm vector`: arithmetic on what adapters have learned."""
