"""The decisions of a peer: events in, effects out. No clock, no disk, no network, no randomness."""
