"""Loading the frozen base model from the wheel, a folder or the Hugging Face hub."""
