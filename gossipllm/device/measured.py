"""The boundary of energy counters: joules since a counter was opened, and by what they were counted."""

from __future__ import annotations

from typing import Protocol


class NotMeasuredError(Exception):
    """Energy cannot be counted; the message says why, in a few words."""


class EnergyCounter(Protocol):
    @property
    def method(self) -> str:
        """By what the joules are counted, as it stands beside the number."""
        ...

    def joules(self) -> float:
        """Joules since the counter was opened, never falling. Raises `NotMeasuredError`."""
        ...
