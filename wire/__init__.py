"""Messages and tensors to bytes and back. Knows nothing of trust, learning or the network.

Everything that comes in is hostile until it is decoded: any bytes decode or raise `WireError`, in time
and memory bounded by limits that are checked first. `PROTOCOL.md` is the page for another implementation.
"""
