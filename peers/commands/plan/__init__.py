"""The command `gossipllm plan`: measures this device and proposes how its peer should train."""
