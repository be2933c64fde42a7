"""What a study found, for terminals and pages: fronts, how near fleets come to their summed speed, and each axis."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sim.study.axis_effects import effects_of
from sim.study.cells import CellResult
from sim.study.course import Spent, loss_at, spent_to
from sim.study.order import fleet_front
from sim.study.settings import FLEETS, Setting
from sim.study.study import StudyConfig

_MOST_ROWS: Final = 8
"""Rows of a fleet's front that are shown."""


def fronts_table(cells: Mapping[Setting, CellResult], study: StudyConfig, target: float) -> Iterator[str]:
    """The fronts of all fleets as a table in Markdown, and what never came to the target."""
    yield (
        "| fleet | batch | rate | round | schedule | merge | tokens | seconds | joules | MB | loss at the end | waits |"
    )
    yield "| --- | ---: | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for fleet in FLEETS:
        known = {one: cell for one, cell in cells.items() if one.fleet == fleet}
        spent = {one: spent_to(cell.course, target) for one, cell in known.items()}
        best = [(one, it) for one in fleet_front(known, target) if (it := spent[one]) is not None]
        for one, it in sorted(best, key=lambda pair: pair[1].seconds)[:_MOST_ROWS]:
            yield _row(one, it, known[one], study)
        if len(best) > _MOST_ROWS:
            yield f"| {fleet} | and {len(best) - _MOST_ROWS} more |"
    for fleet in FLEETS:
        known = {one: cell for one, cell in cells.items() if one.fleet == fleet}
        never = [one for one, cell in known.items() if spent_to(cell.course, target) is None]
        if never:
            yield ""
            yield f"{fleet}: {len(never)} of {len(known)} cells never came to a loss of {target:.3f}"


def _row(one: Setting, spent: Spent, cell: CellResult, study: StudyConfig) -> str:
    end = loss_at(cell.course, study.budget)
    return (
        f"| {one.fleet} | {one.batch} | {one.rate:g} | {one.tokens} | {one.schedule} | {one.merge} | "
        f"{spent.tokens:,.0f} | {spent.seconds:.1f} | {spent.joules:,.0f} | {spent.bytes / 1e6:.2f} | "
        f"{'-' if end is None else f'{end:.3f}'} | {max(cell.waited):.0%} |"
    )


def speed_table(cells: Mapping[Setting, CellResult], study: StudyConfig, target: float) -> Iterator[str]:
    """The fastest cell of each fleet, beside what the summed speed would allow: the time in which equal devices that
    neither wait nor exchange anything take the fewest steps to the target that any of their cells took."""
    ideal_s = least_s(cells, study, target)
    yield "| fleet | seconds | times the least | tokens | the mean waits | the one that waits most |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for fleet in FLEETS:
        spent = {
            one: it
            for one, cell in cells.items()
            if one.fleet == fleet and (it := spent_to(cell.course, target)) is not None
        }
        if not spent:
            continue
        one = min(spent, key=lambda setting: spent[setting].seconds)
        times = "-" if ideal_s is None else f"{spent[one].seconds / ideal_s:.2f}"
        waited = cells[one].waited
        yield (
            f"| {fleet} | {spent[one].seconds:.1f} | {times} | {spent[one].tokens:,.0f} | "
            f"{statistics.fmean(waited):.0%} | {max(waited):.0%} |"
        )


def least_s(cells: Mapping[Setting, CellResult], study: StudyConfig, target: float) -> float | None:
    """The least seconds of arithmetic alone in which equal devices came to the target; None where none did."""
    found = [
        spent.tokens / study.devices / (one.batch * study.window_tokens) * study.step_s(one.batch)
        for one, cell in cells.items()
        if FLEETS[one.fleet].equal and (spent := spent_to(cell.course, target)) is not None
    ]
    return min(found, default=None)


def axes_table(
    cells: Mapping[Setting, CellResult], axes: Mapping[str, Sequence[Any]], target: float
) -> Iterator[str]:
    """What one step along one axis does, in pairs of cells that are equal in all else."""
    yield "| axis | from | to | pairs | tokens | seconds | joules | bytes | better in seconds |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for one in effects_of(cells, axes, target):
        ratios = " | ".join(f"{ratio:.2f}" for ratio in one.ratios)
        yield f"| {one.axis} | {one.before} | {one.after} | {one.pairs} | {ratios} | {one.faster} of {one.pairs} |"
