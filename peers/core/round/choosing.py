"""Choosing one row among measured candidates: the temperature and the guard.

The strategy proposes rows, one for each temperature (`trust.rows.rows`). The learner measures the loss of each on this
peer's trust split, and the best is taken. The guard is part of the same comparison: keeping everything is always
measured too, so a merge that makes the trust loss worse is never taken as it is. It needs no margin, because each
neighbour in the row lowers the loss by itself, by more than the error of the measurement. Where no candidate beats
keeping everything, the best is measured again at a half, a quarter and an eighth of its distance from it, beside a row
over the best neighbour alone, and the merge is refused if none of these is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trust.record.history import Guard
from trust.rows.bounds import Row
from trust.rows.rows import Candidate, chosen, shrunk

SHRINK_TRIES = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """A row, with the temperature that it came from and what the guard made of it."""

    row: Row
    temperature: float | None
    guard: Guard


def alone(neighbours: int) -> Row:
    """The row that keeps everything: 1 for this peer, 0 for each neighbour."""
    return (1.0, *(0.0 for _ in range(neighbours)))


def choice_of(candidates: Sequence[Candidate], losses: Sequence[float], bound: float) -> Choice | None:
    """The candidate of least loss if that is below `bound`, else None.

    A candidate with a loss of NaN is never chosen. A bound of NaN is no bound: a peer whose own adapter has diverged
    may take any row whose loss is a number.
    """
    index = chosen(candidates, losses)
    if index is None or losses[index] >= bound:
        return None
    return Choice(candidates[index].row, candidates[index].temperature, "taken")


def shrunk_rows(candidates: Sequence[Candidate], losses: Sequence[float]) -> tuple[Candidate, ...]:
    """The best candidate, moved halfway towards keeping everything `SHRINK_TRIES` times."""
    start = candidates[chosen(candidates, losses) or 0]
    rows: list[Candidate] = []
    row = start.row
    for _ in range(SHRINK_TRIES):
        row = shrunk(row)
        rows.append(Candidate(start.temperature, row))
    return tuple(rows)
