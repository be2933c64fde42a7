"""Mean and standard deviation over the seeds of a run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import msgspec


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and standard deviation over `n` seeds."""

    mean: float
    std: float | None
    n: int


def spread(values: Iterable[float]) -> Spread | None:
    """Mean and standard deviation; None without values."""
    listed = list(values)
    if not listed:
        return None
    return Spread(
        mean=statistics.fmean(listed),
        std=statistics.stdev(listed) if len(listed) > 1 else None,
        n=len(listed),
    )
