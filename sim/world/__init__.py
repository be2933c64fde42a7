"""The simulated world: virtual time, links, churn and many real cores, replayable from a seed."""
