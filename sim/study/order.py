"""In which order cells are measured: from one setting and the corners of the grid to what is next to the fronts.

Corners are measured with the first fleet, and what is on its front with the others, so that a study that is stopped
early has what says most about each axis. One that goes on moves along one axis at a time from every cell that is on the
front of its fleet, until nothing next to a front is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from sim.study.course import OBJECTIVES, CellCourse, loss_at, spent_to
from sim.study.fronts import front
from sim.study.settings import NUMBERS, Setting, allowed, moved


def middle(axes: Mapping[str, Sequence[Any]]) -> Setting:
    """The setting that is measured first: the lower middle of each axis of numbers, the first of each axis of names."""
    return Setting(
        **{axis: values[(len(values) - 1) // 2 if axis in NUMBERS else 0] for axis, values in axes.items()}
    )


def corners(axes: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """The extremes of all axes of numbers, with the first name of all others."""
    ends = {axis: _ends(values) if axis in NUMBERS else values[:1] for axis, values in axes.items()}
    found = [Setting(**dict(zip(ends, one, strict=True))) for one in product(*ends.values())]
    return [one for one in found if allowed(one)]


def wanted(
    cells: Mapping[Setting, CellCourse], axes: Mapping[str, Sequence[Any]], *, target: float, budget: float
) -> list[Setting]:
    """What to measure next, where the corners are known; nothing at the end of the study."""
    first, *others = axes["fleet"]
    known = {one: cell for one, cell in cells.items() if one.fleet == first}
    best = fleet_front(known, target) or _least(known, budget)
    carried = [replace(one, fleet=fleet) for fleet in others for one in best]
    return [one for one in carried if one not in cells] or next_to_fronts(
        cells, axes, target=target, budget=budget
    )


def next_to_fronts(
    cells: Mapping[Setting, CellCourse], axes: Mapping[str, Sequence[Any]], *, target: float, budget: float
) -> list[Setting]:
    """The settings beside those on the front of their fleet, or beside the one of least loss where none of it came to
    the target; without those that are known. Nothing moves along the axis of fleets: each has its own front."""
    within = {axis: values for axis, values in axes.items() if axis != "fleet"}
    found: dict[Setting, None] = {}
    for fleet in axes["fleet"]:
        known = {one: cell for one, cell in cells.items() if one.fleet == fleet}
        for one in fleet_front(known, target) or _least(known, budget):
            found |= dict.fromkeys(moved(one, within))
    return [one for one in found if one not in cells]


def fleet_front(cells: Mapping[Setting, CellCourse], target: float) -> list[Setting]:
    """The settings that nothing beats in all objectives, of those that came to the target."""
    spent = {one: spent_to(cell.course, target) for one, cell in cells.items()}
    costs = {one: [getattr(it, name) for name in OBJECTIVES] for one, it in spent.items() if it is not None}
    return front(costs)


def _least(cells: Mapping[Setting, CellCourse], budget: float) -> list[Setting]:
    losses = {one: loss_at(cell.course, budget) for one, cell in cells.items()}
    known = {one: loss for one, loss in losses.items() if loss is not None}
    return [min(known, key=lambda one: known[one])] if known else []


def _ends(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((values[0], values[-1])))
