"""Limits on what another peer may ask for or do wrong below the announcements."""
