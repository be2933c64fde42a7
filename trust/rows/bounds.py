"""What this peer's own measurements make of a row: weights by measured gain, a joint bound of newcomers, an own share.

Evidence says who is near; the gain says what comes of it. So a neighbour that is near and gives little has little, as
in FedFomo (arXiv 2012.08565), and one that claims to be near gains nothing by the claim.

The gain of one round is a measurement with an error, and the largest of several is partly the luckiest. An update that
moves this peer far in a direction of chance, as attackers' do, has the largest errors: it harms in one round and gives
most in the next. So `by_credit` counts no gain above the median of the round, and lets earlier rounds, which were
measured on other windows, speak as well: whoever has less standing than the median has less weight.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TypeAlias

Row: TypeAlias = tuple[float, ...]


def by_gain(row: Row, gains: Sequence[float]) -> Row:
    """The row in which each neighbour's weight is multiplied by its measured gain over the largest gain.

    Gains are not below 0, one for each neighbour, and one of them is above. What is taken from neighbours goes to the
    peer itself.
    """
    most = max(gains, default=1.0)
    others = [weight * (gain / most) for weight, gain in zip(row[1:], gains, strict=True)]
    return (1 - math.fsum(others), *others)


def by_credit(row: Row, gains: Sequence[float], standings: Sequence[float], *, credit: float) -> Row:
    """`by_gain`, where a gain counts up to the median of the gains, times (standing over the median standing, at most
    1) to the power `credit`. With a `credit` of 0 it is `by_gain` itself.

    `standings` are those of `trust.rows.standing` before this round. Of an even number the higher median standing
    counts, so that a joining majority of newcomers takes no weight from those who are proven; where it is 0, standings
    say nothing.
    """
    if not gains or credit == 0:
        return by_gain(row, gains)
    typical, proven = statistics.median(gains), statistics.median_high(standings)
    if proven == 0:
        return by_gain(row, [min(gain, typical) for gain in gains])
    return by_gain(
        row,
        [
            min(gain, typical) * min(1.0, standing / proven) ** credit
            for gain, standing in zip(gains, standings, strict=True)
        ],
    )


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
