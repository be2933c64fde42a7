"""Bounds of a row: what newcomers may have together, and what a peer keeps of itself, whatever the evidence says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

Row: TypeAlias = tuple[float, ...]


def bounded(row: Row, seated: Sequence[bool], *, newcomers: float, own_share: float) -> Row:
    """The row in which neighbours without a seat have at most the weight `newcomers` together, and this peer itself
    has at least `own_share`. What is taken from neighbours goes to the peer itself.

    `seated` says of each neighbour, in the order of the row, whether it has earned a seat.
    """
    own, *others = row
    new = math.fsum(weight for weight, proven in zip(others, seated, strict=True) if not proven)
    if newcomers < 1 and new > newcomers:
        others = [
            weight if proven else weight * (newcomers / new)
            for weight, proven in zip(others, seated, strict=True)
        ]
        own = 1 - math.fsum(others)
    if own < own_share:
        others = [weight * ((1 - own_share) / (1 - own)) for weight in others]
        own = 1 - math.fsum(others)
    return (own, *others)
