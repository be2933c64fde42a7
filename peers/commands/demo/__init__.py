"""`gossipllm demo`: a few real peers as processes on this machine, watched, and compared with training alone."""
