"""How a device should train: a pure function of what was measured of it, its equations, and the same for a fleet."""
