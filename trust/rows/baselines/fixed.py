"""Strategy "fixed": weights that the user sets in `PEER=WEIGHT` lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trust.rows.evidence import Neighbour

_SUM_TOLERANCE = 1e-9
"""Excess over 1 that is allowed for the sum, because weights are written in decimal and three thirds must pass.
`fixed_shares` scales the sum back to 1."""


def fixed_shares(entries: Sequence[str]) -> dict[str, float]:
    """`PEER=WEIGHT` lines as peer -> weight, summing to at most 1. Raises `ValueError` that quotes the invalid line."""
    shares: dict[str, float] = {}
    for entry in entries:
        # From the right, because a name may hold "=".
        peer, _, text = entry.rpartition("=")
        weight = _number(text)
        if not peer or not 0 <= weight <= 1:
            raise ValueError(f'fixed must be "PEER=WEIGHT" with a weight in 0..1, got {entry!r}')
        if peer in shares:
            raise ValueError(f"fixed must name each peer once, got {peer!r} twice")
        shares[peer] = weight
    total = math.fsum(shares.values())
    if total > 1 + _SUM_TOLERANCE:
        raise ValueError(f"fixed weights must sum to at most 1, got {total:.9g}")
    return {peer: weight / max(total, 1.0) for peer, weight in shares.items()}


def fixed_weights(entries: Sequence[str], neighbours: Sequence[Neighbour]) -> list[float]:
    """The weights that `entries` give these neighbours, `(K+1,)`, the peer itself first; it keeps the rest.

    Neighbours of one name share its weight, because any peer can announce any name: a peer that takes the name of
    another gains at most a part of its weight.
    """
    others = [0.0 for _ in neighbours]
    for peer, weight in fixed_shares(entries).items():
        places = [k for k, each in enumerate(neighbours) if peer in (each.peer, each.name)]
        for k in places:
            others[k] += weight / len(places)
    return [max(0.0, 1 - math.fsum(others)), *others]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
