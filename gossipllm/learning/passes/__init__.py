"""Passes through the model: training, losses and predictions of many adapters at once. All of it runs on torch."""
