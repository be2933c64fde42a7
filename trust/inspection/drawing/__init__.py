"""What inspection commands share to draw in a terminal: grids, shades, numbers, progress."""
