"""The frozen base model, the adapters on it, and the formats in which adapters are stored."""
