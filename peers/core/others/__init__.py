"""The other peers: who is connected, what they announced, what of it was fetched, and how they behaved."""
