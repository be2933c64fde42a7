"""`gossipllm doctor`: is this device fit for a peer, and can it reach a network that it would fit into?"""
