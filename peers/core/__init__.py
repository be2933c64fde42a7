"""What a peer decides. No clock, no disk, no network, no randomness: events in, effects out."""
