"""Soft rows in our form: distances in units of their own median, and one row for each temperature.

From distances d the weights are a softmax of

    z_j = -d_j / (temperature * scale),    scale = the median distance,

so that no constant depends on the model, the data or the kind of evidence. The temperature is not guessed
either: there is one row for each in the configuration, and the peer takes the one whose merge does best on
its own trust split.

The peer itself has distance 0 by definition, which says nothing: with 0, a low temperature means training
alone and a high one plain averaging, with nothing useful between. So the peer counts as its own nearest
neighbour. Losses are different: there a peer's own distance of 0 is measured, and stays.

Several kinds of evidence multiply: `z_j = -sum over kinds of d_j / scale`, each kind in its own unit, then one
temperature for all. A neighbour must be near by each of them.

With one neighbour nearness has nothing to compare: every temperature gives 1/2, and whether to merge at all
is the guard's decision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from trust.rows.evidence import Distance, Neighbour
from trust.rows.evidence_kinds import EVIDENCE, Evidence

FARTHEST = 1e100
"""Bound of a distance in units of the median, so that sums of several stay finite. Its weight is 0 anyhow."""


def soft_weights(
    kinds: Sequence[Evidence], neighbours: Sequence[Neighbour], temperatures: Sequence[float]
) -> list[tuple[float | None, list[float]]]:
    """`(K+1,)` weights for each temperature, the peer itself first; `kinds` are those of the distances."""
    by_kind = zip(*(each.distances for each in neighbours), strict=True)
    units = [
        paired(distances) if EVIDENCE[kind].compares_losses else near(distances)
        for kind, distances in zip(kinds, by_kind, strict=True)
    ]
    distances = product(units)
    return [(temperature, softmax(distances, temperature=temperature)) for temperature in temperatures]


def near(distances: Sequence[Distance]) -> list[float]:
    """K+1 distances in units of the median, for distances whose zero says nothing: entry 0 is the peer, as
    near as its nearest neighbour."""
    others = [distance.mean for distance in distances]
    return _in_units(min(others), others, _scale(others))


def paired(distances: Sequence[Distance]) -> list[float]:
    """K+1 distances above the best, for differences of losses: the peer keeps its measured 0.

    The unit never falls below the median standard error, so that neighbours whose losses cannot be told
    apart get weights that cannot be told apart.
    """
    best = min(0.0, *(distance.mean for distance in distances))
    above = [distance.mean - best for distance in distances]
    noise = median(distance.error for distance in distances)
    # Without noise and with all neighbours equally good, what is left to compare is the peer itself.
    return _in_units(-best, above, max(_scale(above), noise) or -best)


def softmax(distances: Sequence[float], *, temperature: float = 1.0) -> list[float]:
    """Weights that sum to 1 and fall with the distance."""
    nearest = min(distances)
    weights = [math.exp(-(distance - nearest) / temperature) for distance in distances]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def product(kinds: Sequence[Sequence[float]]) -> list[float]:
    """Distances of several kinds as one: products of weights are sums of distances."""
    return [math.fsum(each) for each in zip(*kinds, strict=True)]


def _in_units(own: float, others: Sequence[float], scale: float) -> list[float]:
    """`scale` is 0 only where `own` and `others` are all equal."""
    nearest = min(own, *others)
    above = [distance - nearest for distance in (own, *others)]
    return [min(distance / scale, FARTHEST) if distance else 0.0 for distance in above]


def _scale(distances: Sequence[float]) -> float:
    """The median distance; where at least half are 0, the median of the others; 0 where all are."""
    above = [distance for distance in distances if distance > 0]
    return median(distances) or (median(above) if above else 0.0)
