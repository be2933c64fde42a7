"""What is trained: the frozen base model, the adapter on it, and the forms in which an adapter is kept."""
