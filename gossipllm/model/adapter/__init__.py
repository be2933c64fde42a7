"""The adapter: its place in the base, the names of its tensors and their division into units, and its files."""
