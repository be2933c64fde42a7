"""Whether the planner's settings are near the best of a grid, on texts and devices by which it was not fitted."""
