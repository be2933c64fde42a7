"""Pareto fronts: the costs that no other cost beats in all objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is nowhere more and somewhere less than `other`; less is better."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def front(costs: Mapping[T, Sequence[float]]) -> list[T]:
    """The names whose costs nothing dominates, in the order given. Equal costs stay together."""
    return [name for name, cost in costs.items() if not any(dominates(one, cost) for one in costs.values())]
