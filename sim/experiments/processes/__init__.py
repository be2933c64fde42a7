"""The runs of a scenario in worker processes, and their progress."""
