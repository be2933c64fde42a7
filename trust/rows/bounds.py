"""What this peer's own measurements make of a row: weights by measured gain, a joint bound of newcomers, an own share.

Evidence says who is near; the gain says what comes of it. So a neighbour that is near and gives little has little, as
in FedFomo (arXiv 2012.08565), and one that claims to be near gains nothing by the claim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

Row: TypeAlias = tuple[float, ...]


def by_gain(row: Row, gains: Sequence[float]) -> Row:
    """The row in which each neighbour's weight is multiplied by its measured gain over the largest gain.

    Gains are above 0, one for each neighbour. What is taken from neighbours goes to the peer itself.
    """
    most = max(gains, default=1.0)
    others = [weight * (gain / most) for weight, gain in zip(row[1:], gains, strict=True)]
    return (1 - math.fsum(others), *others)


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
