"""Softmax rows in our form: distances in units of their median, and one row for each temperature.

The weights of distances d are a softmax of

    z_j = -d_j / (temperature * scale),    scale = the median distance,

so that no constant depends on the model, the data or the kind of evidence. The released code of Wagner et al. (2024)
scales by the sum over the row instead, and its sharpness falls with the number of peers. The temperature is not guessed
either: every temperature of the configuration gives a row, and the peer takes the row whose merge has the least loss on
its trust split.

The peer itself has distance 0 by definition, which carries no information: with 0, a low temperature means training
alone and a high one plain averaging, with nothing useful between. So the peer counts as near as its nearest neighbour.
Losses are different: a peer's own difference of 0 is a measurement, and it is kept.

Distances across tokenizers are of another measure (`byte_evidence.py`), and hold the distance of the bases. So the
neighbours of each such base have a unit of their own (`beyond`), and count by how near they are among themselves. The
price is that the nearest of each base counts as near as any other: nothing that is sent says how much of a distance is
that of the bases. Those neighbours have no part in a merge, and a bounded part in what is distilled.

Several kinds of evidence multiply: `z_j = -sum over kinds of d_j / scale`, each kind in its own unit, with one
temperature for all. A neighbour must be near by each kind.

With a single neighbour, relative nearness has nothing to compare: every temperature gives 1/2, and the guard decides
whether to merge at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from trust.rows.evidence import Distance, Neighbour
from trust.rows.evidence_kinds import EVIDENCE, Evidence

FARTHEST = 1e100
"""Bound of a distance in units of the median, so that sums of several stay finite. Its weight is 0 in any case."""


def soft_weights(
    kinds: Sequence[Evidence], neighbours: Sequence[Neighbour], temperatures: Sequence[float]
) -> list[tuple[float | None, list[float]]]:
    """`(K+1,)` weights for each temperature, the peer itself first; `kinds` are the kinds of `Neighbour.distances`."""
    by_kind = zip(*(each.distances for each in neighbours), strict=True)
    scales = [each.scale for each in neighbours]
    units = [
        paired(distances) if EVIDENCE[kind].compares_losses else near_by_scale(distances, scales)
        for kind, distances in zip(kinds, by_kind, strict=True)
    ]
    distances = product(units)
    return [(temperature, softmax(distances, temperature=temperature)) for temperature in temperatures]


def near(distances: Sequence[Distance]) -> list[float]:
    """K+1 distances in units of the median, for kinds whose zero is a convention.

    Entry 0 is the peer itself, as near as its nearest neighbour.
    """
    others = [distance.mean for distance in distances]
    return _in_units(min(others), others, _scale(others))


def near_by_scale(distances: Sequence[Distance], scales: Sequence[str]) -> list[float]:
    """`near`, with units of their own for the neighbours of each scale but the unnamed one (`Neighbour.scale`)."""
    units = [0.0] * (len(distances) + 1)
    for scale in sorted(set(scales)):
        places = [place for place, one in enumerate(scales) if one == scale]
        group = [distances[place] for place in places]
        for place, unit in zip(places, beyond(group) if scale else near(group)[1:], strict=True):
            units[place + 1] = unit
    return units


def beyond(distances: Sequence[Distance]) -> list[float]:
    """K distances beyond the nearest, in units of their median.

    The distance of two bases is in all of their adapters' distances, and is most of them. The nearest distance holds it
    too, so it is taken from all before they are brought to units; it counts as near as any nearest neighbour. The unit
    is at least the median standard error, so that neighbours that differ by less than the noise get nearly equal
    weights.
    """
    nearest = min(distance.mean for distance in distances)
    above = [distance.mean - nearest for distance in distances]
    return _in_units(0.0, above, max(_scale(above), median(each.error for each in distances)))[1:]


def paired(distances: Sequence[Distance]) -> list[float]:
    """K+1 distances above the best one, for differences of losses; entry 0, the peer itself, keeps its measured 0.

    The unit is at least the median standard error, so that neighbours whose losses differ by less than the noise get
    nearly equal weights.
    """
    best = min(0.0, *(distance.mean for distance in distances))
    above = [distance.mean - best for distance in distances]
    noise = median(distance.error for distance in distances)
    # Without noise and with all neighbours equally good, the only remaining scale is the distance to the peer itself.
    return _in_units(-best, above, max(_scale(above), noise) or -best)


def softmax(distances: Sequence[float], *, temperature: float = 1.0) -> list[float]:
    """Softmax of minus the distances over the temperature: weights that sum to 1."""
    # Differences to the nearest, so that no exponent overflows.
    nearest = min(distances)
    weights = [math.exp(-(distance - nearest) / temperature) for distance in distances]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def product(kinds: Sequence[Sequence[float]]) -> list[float]:
    """Distances of several kinds added up, because products of weights are sums of distances."""
    return [math.fsum(each) for each in zip(*kinds, strict=True)]


def _in_units(own: float, others: Sequence[float], scale: float) -> list[float]:
    """Distances above the nearest, over `scale`, which is 0 only where `own` and `others` are all equal."""
    nearest = min(own, *others)
    above = [distance - nearest for distance in (own, *others)]
    return [min(distance / scale, FARTHEST) if distance else 0.0 for distance in above]


def _scale(distances: Sequence[float]) -> float:
    """The median distance; where that is 0, the median of the distances above 0; 0 where all are 0.

    The fallback keeps peers with identical adapters from setting the scale to 0.
    """
    above = [distance for distance in distances if distance > 0]
    return median(distances) or (median(above) if above else 0.0)
