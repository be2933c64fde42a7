"""A peer's home folder: its configuration, and the files that survive a crash."""
