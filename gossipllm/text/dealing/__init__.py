"""Deals text to peers: by category, mixture, Dirichlet, length or evenly."""
