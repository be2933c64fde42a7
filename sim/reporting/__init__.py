"""The report of a run as one HTML page: trust weights round by round, losses, and costs."""
