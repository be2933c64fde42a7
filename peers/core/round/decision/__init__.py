"""From the neighbours of a round to one row and its merge."""
