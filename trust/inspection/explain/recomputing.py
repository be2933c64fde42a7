"""The row once more, from what is recorded: the candidates, the one chosen, and what the guard made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trust.inspection.explain.case import Case, recorded
from trust.rows.config import strategy_of
from trust.rows.rows import Candidate, Row, candidate_rows, shrunk

TOLERANCE: Final = 1e-9
"""How far a weight may be from the recorded one. Above what another order of the same sums changes."""

MOST_HALVINGS: Final = 3
"""How often the guard moves a row halfway to keeping everything before it refuses it."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """`candidates` are what was tried, before the guard; `row` is None where it cannot be made again, for the reason
    `why`. `halvings` are how often the guard moved it toward keeping everything, None where that is not known."""

    candidates: tuple[Candidate, ...]
    row: Row | None
    halvings: int | None
    why: str = ""


def recomputed(case: Case) -> Recomputed:
    """Raises nothing, whatever the records hold."""
    guard, alone = case.record.guard, (1.0, *(0.0 for _ in case.record.seen))
    none = MOST_HALVINGS if guard == "refused" else 0
    candidates, why = candidates_of(case)
    if guard in ("alone", "refused") or case.record.absorbed or not case.record.seen:
        return Recomputed(candidates, alone, none)
    if not candidates:
        return Recomputed((), None, None if guard == "shrunk" else 0, why)
    found = next((one.row for one in candidates if one.temperature == case.record.temperature), None)
    if found is None:
        return Recomputed(
            candidates, None, None, f"none of the candidates has the temperature {case.record.temperature}"
        )
    if guard == "taken":
        return Recomputed(candidates, found, 0)
    row, halvings = min(_nearer(found), key=lambda one: abs(one[0][0] - case.record.self_weight))
    return Recomputed(candidates, row, halvings)


def candidates_of(case: Case) -> tuple[tuple[Candidate, ...], str]:
    """The rows that the strategy proposed; none, and why, where that is not known."""
    if case.settings is None:
        return (), "an earlier version wrote this, which did not record the settings of the row"
    if strategy_of(case.settings).fitted:
        return (), "it was learned down a gradient, which the records do not hold"
    neighbours = [case.neighbour(one, *recorded(case, one)) for one in case.record.seen]
    try:
        return candidate_rows(case.settings, neighbours, case.me, alpha=case.alpha), ""
    except ValueError as error:
        return (), f"what is recorded makes no row: {error}"


def _nearer(row: Row) -> list[tuple[Row, int]]:
    rows: list[tuple[Row, int]] = []
    for halvings in range(1, MOST_HALVINGS + 1):
        row = shrunk(row)
        rows.append((row, halvings))
    return rows
