"""`gossipllm sim pretrain`: peers pre-train a random base together, beside one process with as many tokens."""
