"""Carrying what a small model has learned over to a larger one, as an adapter of the larger one's own shapes."""
