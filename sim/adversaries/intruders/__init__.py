"""Faults below the learner: connections, identities and announcements, one to a module."""
