"""The learner's process, as its peer starts, feeds and watches it."""
