"""Strategies "balance" and "ubar": neighbours are accepted or not, and the accepted ones share a half equally.

* BALANCE (Fang et al., CCS 2024, arXiv 2406.10416) accepts a neighbour whose model is within a ball around this peer's
  own, of a radius in proportion to its own norm that shrinks with the rounds.
* UBAR (Guo et al., arXiv 2002.12991, as Mozi) takes the nearest neighbours, and of these the ones whose loss on this
  peer's text is no higher than its own.

Both authors mix the mean of the accepted with this peer's own model at a weight that they leave open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from trust.rows.evidence import MAX_DISTANCE, Distance, Neighbour

OWN_SHARE: Final = 0.5
"""This peer's own weight where it accepts anybody. Guess: the middle of what the authors leave open."""

NEAREST_SHARE: Final = 0.5
"""The part of the neighbours, rounded up, that UBAR takes for near enough: it bears any minority of attackers."""


def relative_distance(own_square: float, their_square: float, inner: float) -> Distance:
    """`|D_j - D_i| / |D_i|` for what neighbour j and this peer i add to the base, by their squared norms and their
    inner product. 0 for equal zero updates; at most 1e100, which is also the distance from a zero update of one's own
    to any other. Raises `ValueError` for what is not finite."""
    if not (math.isfinite(own_square) and math.isfinite(their_square) and math.isfinite(inner)):
        raise ValueError(f"updates must be finite, got {own_square}, {their_square} and {inner}")
    apart = math.sqrt(max(own_square + their_square - 2 * inner, 0.0))
    if apart == 0:
        return Distance(0.0, 0.0)
    own = math.sqrt(max(own_square, 0.0))
    return Distance(min(apart / own, MAX_DISTANCE) if own else MAX_DISTANCE, 0.0)


def balance_weights(neighbours: Sequence[Neighbour], *, reach: float, decay: float) -> list[float]:
    """BALANCE: whoever is at a relative distance of at most `reach * exp(-decay * round)` shares a half."""
    return _shared([each.distances[0].mean <= reach * math.exp(-decay * each.round) for each in neighbours])


def ubar_weights(neighbours: Sequence[Neighbour]) -> list[float]:
    """UBAR, of ("distance", "validation"): the nearest half, without those whose loss is above this peer's own."""
    count = math.ceil(NEAREST_SHARE * len(neighbours))
    by_distance = sorted(neighbours, key=lambda each: (each.distances[0].mean, each.peer))
    nearest = {each.peer for each in by_distance[:count]}
    return _shared([each.peer in nearest and each.distances[1].mean <= 0 for each in neighbours])


def _shared(accepted: Sequence[bool]) -> list[float]:
    """`(K+1,)` weights, this peer first; it keeps everything where it accepts nobody."""
    count = sum(accepted)
    if not count:
        return [1.0, *(0.0 for _ in accepted)]
    return [OWN_SHARE, *((1 - OWN_SHARE) / count if each else 0.0 for each in accepted)]
