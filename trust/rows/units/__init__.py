"""Which units of a model a peer trains: layers by importance, heads by owner."""
