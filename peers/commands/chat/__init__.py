"""`gossipllm chat`: talk with what a peer has learned, or with its base."""
