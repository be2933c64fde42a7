"""Training passes in fewer operations: same functions, hand-written gradients, equal up to rounding."""
