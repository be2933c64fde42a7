"""Standing: what a neighbour has earned by the gains that this peer measured. Slow to rise, fast to fall.

A neighbour's level lies in [0, 1] and starts at 0, so a new identity is worth nothing. A round in which the neighbour
by itself lowered this peer's loss by more than the error of the measurement adds `STEP`; a round without a clear result
changes nothing; a round in which it raised the loss leaves a quarter, and a broken promise (predictions that do not
belong to the update) leaves nothing. From `SEAT` on the neighbour has a seat: a place among those whose updates are
fetched, and no part in the joint cap of newcomers.
"""

from __future__ import annotations

from typing import Final

STEP: Final = 0.25
"""What one round with a measured gain adds. Guess: a seat takes two, and full standing four."""
SEAT: Final = 0.5
_LEFT: Final = 0.25


def raised(level: float) -> float:
    """The level after a round with a measured gain."""
    return min(1.0, level + STEP)


def lowered(level: float) -> float:
    """The level after a round in which the neighbour raised the loss."""
    return level * _LEFT


def has_seat(level: float) -> bool:
    return level >= SEAT
