"""What this peer's own measurements make of a row: weights by measured gain, a joint bound of newcomers, an own share.

Evidence says who is near; the gain says what comes of it. So a neighbour that is near and gives little has little, as
in FedFomo (arXiv 2012.08565), and one that claims to be near gains nothing by the claim.

The gain of one round is a measurement with an error, and the largest of several is partly the luckiest. An update that
moves this peer far in a direction of chance, as attackers' do, has the largest errors: it harms in one round and gives
most in the next. So `by_credit` counts no gain above the median of the round, and lets earlier rounds, which were
measured on other windows, speak as well: whoever has less standing than the median has less weight. Those that were
tried in vain count in that median, too. Otherwise a neighbour that is alone in a row because the others' measurements
came out within their errors would be typical of itself, whatever it did before.

What passes the guard is taken as far as its gain is certain (`by_certainty`, `trust.rows.certainty`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TypeAlias

from trust.rows.standing import has_seat, raised

Row: TypeAlias = tuple[float, ...]


def by_gain(row: Row, gains: Sequence[float]) -> Row:
    """The row in which each neighbour's weight is multiplied by its measured gain over the largest gain.

    Gains are not below 0, one for each neighbour, and one of them is above. What is taken from neighbours goes to the
    peer itself.
    """
    most = max(gains, default=1.0)
    others = [weight * (gain / most) for weight, gain in zip(row[1:], gains, strict=True)]
    return (1 - math.fsum(others), *others)


def by_credit(
    row: Row, gains: Sequence[float], standings: Sequence[float], *, left: Sequence[float], credit: float
) -> Row:
    """`by_gain`, where a gain counts up to the median of the gains, and then each weight times (standing over the
    typical standing, at most 1) to the power `credit`. With a `credit` of 0 it is `by_gain` itself.

    `standings` are those of `trust.rows.standing` before this round, `left` those of the neighbours that were tried
    and left out. Typical are the median of the row, and, where it is higher, the median of the row and of those that
    were left out and have a seat; beside the latter a neighbour counts as if it had gained once, so that a newcomer
    that alone gives something is not shut out. Of an even number the higher median counts, so that a joining majority
    of newcomers takes no weight from those who are proven. Where the median of the row is 0, it says nothing.
    """
    if not gains or credit == 0:
        return by_gain(row, gains)
    middle = statistics.median(gains)
    row = by_gain(row, [min(gain, middle) for gain in gains])
    seated = [standing for standing in left if has_seat(standing)]
    here, everywhere = statistics.median_high(standings), statistics.median_high((*standings, *seated))
    others = [
        weight * min(_part(standing, here), _part(max(standing, raised(0.0)), everywhere)) ** credit
        for weight, standing in zip(row[1:], standings, strict=True)
    ]
    return (1 - math.fsum(others), *others)


def _part(standing: float, typical: float) -> float:
    return min(1.0, standing / typical) if typical > 0 else 1.0


def by_certainty(row: Row, certainty: float) -> Row:
    """The row in which neighbours keep this part of their weights, 0 to 1; what is taken from them goes to the peer
    itself."""
    if certainty == 1:
        return row
    others = [weight * certainty for weight in row[1:]]
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
