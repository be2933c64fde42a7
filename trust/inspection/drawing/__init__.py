"""Terminal output shared by the inspection commands: grids, colours of weights, numbers."""
