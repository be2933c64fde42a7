"""A listener for whatever tells of its progress."""

from __future__ import annotations


def silent(*_: object) -> None:
    """Hears of every step and does nothing."""
