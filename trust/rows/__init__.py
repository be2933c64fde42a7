"""From evidence to trust rows: distances, priors, candidate rows. Arithmetic only, in numpy and scipy."""
