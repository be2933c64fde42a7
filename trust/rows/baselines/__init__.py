"""Rows of published methods, for comparison."""
