"""Computes a row again from the records: its candidates, the chosen candidate, and what the guard made of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET

from trust.inspection.explain.case import Case, recorded
from trust.record.history import Seen
from trust.rows.bounds import bounded, by_certainty, by_credit
from trust.rows.config import strategy_of
from trust.rows.rows import Row, candidate_rows, shrunk
from trust.rows.standing import has_seat

TOLERANCE: Final = 1e-9
"""Largest difference between a weight and the recorded one that counts as equal. It exceeds the rounding error of
summing in another order."""

MOST_HALVINGS: Final = 3
"""Times that the guard moves a row halfway to keeping everything before it refuses the merge."""


@dataclass(frozen=True, slots=True)
class CandidateSteps:
    """A candidate row over all neighbours: as the strategy proposes it, weighed by measured gains, and within its
    bounds (`row`), as it was tried. Neighbours that were left out have 0 in all of them."""

    temperature: float | None
    by_evidence: Row
    by_gain: Row
    row: Row


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A row computed again from the records.

    `candidates` are the rows before the guard. `row` is None where it cannot be computed, for the reason `why`.
    `halvings` is how often the guard moved the row toward keeping everything, None where that is not known.
    """

    candidates: tuple[CandidateSteps, ...]
    row: Row | None
    halvings: int | None
    why: str = ""


def recomputed(case: Case) -> Recomputed:
    """Compute the row of `case` again. Raises nothing, whatever the records hold."""
    guard, alone = case.record.guard, (1.0, *(0.0 for _ in case.record.seen))
    guard_halvings = MOST_HALVINGS if guard == "refused" else 0
    candidates, why = candidates_of(case)
    if guard in ("alone", "refused", "returned", "recalled") or case.record.absorbed or not case.record.seen:
        return Recomputed(candidates, alone, guard_halvings)
    if not candidates:
        return Recomputed((), None, None if guard == "shrunk" else 0, why)
    found = next(
        (candidate.row for candidate in candidates if candidate.temperature == case.record.temperature), None
    )
    if found is None and guard == "shrunk" and case.record.temperature is None:
        found = candidates[0].row
    if found is None:
        return Recomputed(
            candidates, None, None, f"none of the candidates has the temperature {case.record.temperature}"
        )
    if guard == "taken":
        return Recomputed(candidates, _certain(case, found), 0)
    # Which of the nearer rows it was is not recorded; the recorded weights show it.
    nearer = [(_certain(case, row), halvings) for row, halvings in (*_shrunk_rows(found), *_best_alone(case))]
    row, halvings = min(nearer, key=lambda one: _apart(one[0], case.row))
    return Recomputed(candidates, row, halvings)


def certainty_of(case: Case) -> float:
    """The part of the neighbours' weights that the error of the merge's gain left."""
    return 1.0 if case.record.certainty is UNSET else case.record.certainty


def _certain(case: Case, row: Row) -> Row:
    """The row as far as its measured gain was certain."""
    return by_certainty(row, certainty_of(case))


def candidates_of(case: Case) -> tuple[tuple[CandidateSteps, ...], str]:
    """The candidate rows of the strategy, and an empty reason; no rows and the reason where they are not known."""
    if case.settings is None:
        return (), "an earlier version wrote this, which did not record the settings of the row"
    if strategy_of(case.settings).fitted:
        return (), "it was learned down a gradient, which the records do not hold"
    kept = [seen for seen in case.record.seen if seen.left is None]
    neighbours = [case.neighbour(seen, *recorded(case, seen)) for seen in kept]
    try:
        rows = candidate_rows(case.settings, neighbours, case.me, alpha=case.alpha)
    except ValueError as error:
        return (), f"what is recorded makes no row: {error}"
    return tuple(_steps(case, kept, one.temperature, one.row) for one in rows), ""


def _steps(case: Case, kept: Sequence[Seen], temperature: float | None, row: Row) -> CandidateSteps:
    """The steps of a row over the neighbours that were not left out."""
    gains = [seen.gain for seen in kept if seen.gain is not None]
    standings = [seen.standing for seen in kept]
    credit = case.begun.credit if case.begun and case.begun.credit is not UNSET else 0.0
    weighed = row
    if len(gains) == len(kept):
        left = [seen.standing for seen in case.record.seen if seen.left is not None]
        weighed = by_credit(row, gains, standings, left=left, credit=credit)
    within = weighed
    if case.begun is not None:
        seated = [has_seat(standing) for standing in standings]
        within = bounded(weighed, seated, newcomers=case.begun.newcomers, own_share=case.begun.own_share)
    return CandidateSteps(
        temperature,
        by_evidence=_over_all(case, kept, row),
        by_gain=_over_all(case, kept, weighed),
        row=_over_all(case, kept, within),
    )


def _over_all(case: Case, kept: Sequence[Seen], row: Row) -> Row:
    """A row over the neighbours that were not left out, as a row over all."""
    weights = {seen.peer: weight for seen, weight in zip(kept, row[1:], strict=True)}
    return (row[0], *(weights.get(seen.peer, 0.0) for seen in case.record.seen))


def _best_alone(case: Case) -> list[tuple[Row, None]]:
    """The row over the neighbour of largest gain, which the guard tries beside the nearer rows."""
    share = case.begun.share if case.begun else 0.0
    kept = [seen for seen in case.record.seen if seen.left is None]
    if not share or len(kept) < 2:
        return []
    best = max(kept, key=lambda seen: -math.inf if seen.gain is None else seen.gain)
    row = (1 - share, *(share if seen is best else 0.0 for seen in kept))
    return [(_steps(case, kept, None, row).row, None)]


def _apart(one: Row, other: Row) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _shrunk_rows(row: Row) -> list[tuple[Row, int]]:
    rows: list[tuple[Row, int]] = []
    for halvings in range(1, MOST_HALVINGS + 1):
        row = shrunk(row)
        rows.append((row, halvings))
    return rows
