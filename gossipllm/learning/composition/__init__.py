"""What a learner's adapter is made of: the part that it publishes, and the part that neighbours are mixed into."""
