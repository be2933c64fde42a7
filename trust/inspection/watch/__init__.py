"""The live view of `gossipllm trust watch`: growing files (`following`) -> state of all peers (`board`) -> terminal
(`app`, `panels`) or JSON lines (`lines`).
"""
