"""What a peer's learner does: local steps, predictions, merges, measurements; and the process that runs it."""
