"""Jobs for the model as values, and the values that they carry. Loads no torch."""
