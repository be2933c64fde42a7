"""The learner of a peer: local steps, predictions, merges and measurements, and the process that runs it."""
