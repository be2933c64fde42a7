"""Passes that predict, tokens or bytes."""
