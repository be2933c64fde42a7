"""What a peer grants to others: places, budgets, scores and fines."""
