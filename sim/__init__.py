"""Many peers on one machine in virtual time: the same cores that run on devices, every message through the real codec."""
