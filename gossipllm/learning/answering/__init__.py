"""How a learner answers: what it keeps between requests, and the answers that are more than a call."""
