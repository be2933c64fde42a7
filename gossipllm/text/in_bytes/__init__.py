"""Text measured in bytes, so that peers with different tokenizers can be compared."""
