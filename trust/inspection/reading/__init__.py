"""Reading histories: which files there are, whole or only their ends, and what could not be read."""
