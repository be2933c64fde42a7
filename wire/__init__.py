"""Encodes messages and tensors to bytes, and decodes them. Knows nothing of trust, learning or the network.

All incoming bytes are hostile until they are decoded: any bytes decode or raise `WireError`, in time and memory
bounded by limits that are checked first. `PROTOCOL.md` specifies the format for other implementations.
"""
