"""What a peer remembers from round to round, and when that makes it go back, pause or rest."""
