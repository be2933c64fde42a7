"""Merging adapters: a row of weights, updates of neighbours, push-sum. Arithmetic in numpy; imports no torch itself."""
