"""Local training of one learner: where it begins, its steps, what they keep, and their average."""
