"""`gossipllm trust show`: the trust matrix as a table, a plot or JSON."""
