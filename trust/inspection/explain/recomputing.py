"""Computes a row again from the records: its candidates, the chosen candidate, and what the guard made of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trust.inspection.explain.case import Case, recorded
from trust.rows.config import strategy_of
from trust.rows.rows import Candidate, Row, candidate_rows, shrunk

TOLERANCE: Final = 1e-9
"""Largest difference between a weight and the recorded one that counts as equal. It exceeds the rounding error of
summing in another order."""

MOST_HALVINGS: Final = 3
"""Times that the guard moves a row halfway to keeping everything before it refuses the merge."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A row computed again from the records.

    `candidates` are the rows before the guard. `row` is None where it cannot be computed, for the reason `why`.
    `halvings` is how often the guard moved the row toward keeping everything, None where that is not known.
    """

    candidates: tuple[Candidate, ...]
    row: Row | None
    halvings: int | None
    why: str = ""


def recomputed(case: Case) -> Recomputed:
    """Compute the row of `case` again. Raises nothing, whatever the records hold."""
    guard, alone = case.record.guard, (1.0, *(0.0 for _ in case.record.seen))
    guard_halvings = MOST_HALVINGS if guard == "refused" else 0
    candidates, why = candidates_of(case)
    if guard in ("alone", "refused") or case.record.absorbed or not case.record.seen:
        return Recomputed(candidates, alone, guard_halvings)
    if not candidates:
        return Recomputed((), None, None if guard == "shrunk" else 0, why)
    found = next(
        (candidate.row for candidate in candidates if candidate.temperature == case.record.temperature), None
    )
    if found is None:
        return Recomputed(
            candidates, None, None, f"none of the candidates has the temperature {case.record.temperature}"
        )
    if guard == "taken":
        return Recomputed(candidates, found, 0)
    # The number of halvings is not recorded; the recorded own weight shows which it was.
    row, halvings = min(
        _shrunk_rows(found), key=lambda shrunk_row: abs(shrunk_row[0][0] - case.record.self_weight)
    )
    return Recomputed(candidates, row, halvings)


def candidates_of(case: Case) -> tuple[tuple[Candidate, ...], str]:
    """The candidate rows of the strategy, and an empty reason; no rows and the reason where they are not known."""
    if case.settings is None:
        return (), "an earlier version wrote this, which did not record the settings of the row"
    if strategy_of(case.settings).fitted:
        return (), "it was learned down a gradient, which the records do not hold"
    neighbours = [case.neighbour(seen, *recorded(case, seen)) for seen in case.record.seen]
    try:
        return candidate_rows(case.settings, neighbours, case.me, alpha=case.alpha), ""
    except ValueError as error:
        return (), f"what is recorded makes no row: {error}"


def _shrunk_rows(row: Row) -> list[tuple[Row, int]]:
    rows: list[tuple[Row, int]] = []
    for halvings in range(1, MOST_HALVINGS + 1):
        row = shrunk(row)
        rows.append((row, halvings))
    return rows
