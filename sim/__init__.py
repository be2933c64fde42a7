"""Many peers on one machine in virtual time: the cores that run on devices, every message as real bytes."""
