"""The record of who learned from whom: the history file, the matrix made of it, and measures of a matrix."""
