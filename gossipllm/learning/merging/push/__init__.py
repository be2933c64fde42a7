"""Push-sum: mass, and what a learner's local steps add to it."""
