"""The adapter: where it stands in the base, how its tensors are named and cut into units, its files."""
