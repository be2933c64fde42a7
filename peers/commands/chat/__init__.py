"""`gossipllm chat`: talk with a peer's adapter, or with its base model."""
