"""Hostile peers for simulations: each has one named fault, and everything that it publishes passes the real codec."""
