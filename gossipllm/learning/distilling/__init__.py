"""Distilling after a merge: toward what neighbours predict, and who teaches."""
