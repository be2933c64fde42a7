"""`gossipllm trust show`: the trust matrix as a table, a heat map or JSON."""
