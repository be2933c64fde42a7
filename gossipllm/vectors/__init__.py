"""Task vectors: what fine-tuning added to a base, as something to add, subtract and compare (arXiv 2212.04089)."""
