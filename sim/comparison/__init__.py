"""Methods compared over seeds: the summary, its tables and its plots."""
