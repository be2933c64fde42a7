"""A toy learner with closed-form arithmetic, for worlds that test everything but learning."""
