"""Evaluation tasks: their files, greedy answers of a model, and the usual metrics."""
