"""Learning itself: local steps, predictions, merges, measurements, and the process that does them."""
