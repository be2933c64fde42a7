"""Blobs of other peers: updates, predictions, contexts and shares that are fetched, checked and held."""
