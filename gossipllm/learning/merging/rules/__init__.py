"""Merge rules by their names, and the arithmetic of the robust ones."""
