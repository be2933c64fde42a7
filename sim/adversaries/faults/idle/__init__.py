"""Attackers that publish what cost them no training."""
