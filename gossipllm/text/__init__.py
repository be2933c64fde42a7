"""Text: a peer's own text in three splits, and the public reference set."""
