"""Experiments: scenarios, methods and texts, run in processes and written to a results folder."""
