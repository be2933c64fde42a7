"""The battery of `gossipllm sim attacks`: every attack, on several methods, beside the same peers training alone."""
