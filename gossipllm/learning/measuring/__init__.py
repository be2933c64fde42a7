"""Measuring an adapter, neighbours one by one, and rows, on a learner's own splits."""
