"""Low-rank products: what they are made of, their sums, and their inner products."""
