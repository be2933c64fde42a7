"""What is measured of a run, and the numbers that are written down."""
