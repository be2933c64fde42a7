"""What a step along one axis does: ratios of costs in pairs of cells that are equal in all else."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from sim.study.course import OBJECTIVES, CellCourse, Spent, spent_to
from sim.study.settings import NUMBERS, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """`ratios` are medians over the pairs of the cost after over that before, by `OBJECTIVES`; `faster` counts the
    pairs whose seconds fell. Pairs of which one never came to the target count as infinitely worse or better."""

    axis: str
    before: Any
    after: Any
    pairs: int
    ratios: tuple[float, ...]
    faster: int


def effects_of(
    cells: Mapping[Setting, CellCourse], axes: Mapping[str, Sequence[Any]], target: float
) -> list[Effect]:
    """Of numbers from each value to all larger ones, of names from the first to each other. Pairs of which neither came
    to the target say nothing."""
    spent = {one: spent_to(cell.course, target) for one, cell in cells.items()}
    found: list[Effect] = []
    for axis, values in axes.items():
        steps = combinations(values, 2)
        for before, after in steps if axis in NUMBERS else ((values[0], other) for other in values[1:]):
            ratios = [
                _ratios(spent[one], spent[other])
                for one in cells
                if getattr(one, axis) == before and (other := replace(one, **{axis: after})) in cells
                if spent[one] is not None or spent[other] is not None
            ]
            if ratios:
                found.append(
                    Effect(
                        axis=axis,
                        before=before,
                        after=after,
                        pairs=len(ratios),
                        ratios=tuple(statistics.median_low(each) for each in zip(*ratios, strict=True)),
                        faster=sum(each[OBJECTIVES.index("seconds")] < 1 for each in ratios),
                    )
                )
    return found


def _ratios(before: Spent | None, after: Spent | None) -> tuple[float, ...]:
    if before is None or after is None:
        return (0.0 if before is None else float("inf"),) * len(OBJECTIVES)
    return tuple(getattr(after, name) / getattr(before, name) for name in OBJECTIVES)
