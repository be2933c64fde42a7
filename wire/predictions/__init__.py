"""Predictions on the reference set as bytes: logits of tokens, and rows of bytes."""
