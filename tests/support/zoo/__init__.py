"""The model zoo: a tiny model of every family of causal language models, and what is tried with each."""
