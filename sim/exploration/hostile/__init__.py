"""Hostile peers: no cores, but identities that send whatever bytes they like."""
