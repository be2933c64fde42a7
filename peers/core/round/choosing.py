"""From evidence to one row, by measurement: the temperature and the guard.

The strategy proposes rows, one for each temperature (`trust.rows.rows`). The learner measures on this peer's trust
split what each of them would give, and the best is taken. The guard is in the same comparison: keeping to
oneself is always among the candidates, so a merge that makes the trust loss worse is never taken as it is.
Where nothing beats keeping to oneself, the best of the proposals is tried again at half, a quarter and an
eighth of its distance from it, and only if none of these is better is the merge refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trust.record.history import Guard
from trust.rows.rows import Candidate, chosen, shrunk

Row = tuple[float, ...]

SHRINK_TRIES = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """A row, and how it came about."""

    row: Row
    temperature: float | None
    guard: Guard


def alone(neighbours: int) -> Row:
    """Keep everything: 1 for oneself, 0 for each neighbour."""
    return (1.0, *(0.0 for _ in range(neighbours)))


def choice_of(candidates: Sequence[Candidate], losses: Sequence[float], bound: float) -> Choice | None:
    """The candidate of least loss if that is below `bound`, else None.

    A loss that is no number never wins. A bound that is none is no bound: whoever has lost its own way may
    take any way that is measured to be one.
    """
    index = chosen(candidates, losses)
    if index is None or losses[index] >= bound:
        return None
    return Choice(candidates[index].row, candidates[index].temperature, "taken")


def shrunk_rows(candidates: Sequence[Candidate], losses: Sequence[float]) -> tuple[Candidate, ...]:
    """The best candidate, `SHRINK_TRIES` times moved halfway to keeping everything."""
    start = candidates[chosen(candidates, losses) or 0]
    rows: list[Candidate] = []
    row = start.row
    for _ in range(SHRINK_TRIES):
        row = shrunk(row)
        rows.append(Candidate(start.temperature, row))
    return tuple(rows)
