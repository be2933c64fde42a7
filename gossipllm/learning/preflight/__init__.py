"""The account before a run: what a learner will adapt, and the memory and disk that it will take. Loads no weights."""
