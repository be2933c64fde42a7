"""Arithmetic from evidence to trust rows: distances, priors, strategies, candidate rows. No I/O, no randomness."""
