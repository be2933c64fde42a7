"""The faults, one to a module."""
