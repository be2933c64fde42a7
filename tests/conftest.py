"""What all tests share: property tests that show the same examples every time."""

from __future__ import annotations

from hypothesis import settings

# And no failure because a machine is busy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
