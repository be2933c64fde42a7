"""Choosing one row among measured candidates: the temperature and the guard.

The strategy proposes rows, one for each temperature (`trust.rows.rows`). The learner measures the loss of each on this
peer's trust split, and the best on the windows that propose is the one to be judged. It must be better than keeping
everything there, which is one of the candidates. The guard then judges it on the other windows
(`learning.measuring.halves`), on which nothing was chosen: the merge must lower the loss there, too, by more than
`DefenceConfig.row_errors` standard errors of the paired differences. Where it does not, it is measured again at a half,
a quarter and an eighth of its distance from keeping everything, beside a row over the best neighbour alone; the best of
these is judged in the same way, and the merge is refused if it fails too. That is a second look at the windows that
judge, by a row that is nearly the first one: chance passes it seldom where the first one failed.

What passes is taken as far as its gain is certain (`trust.rows.certainty`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gossipllm.work import Evaluated
from trust.record.history import Guard
from trust.rows.bounds import Row
from trust.rows.rows import Candidate, chosen, shrunk

SHRINK_TRIES = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """A row, with the temperature that it came from and what the guard made of it.

    `gain` is by how much the merge lowered the loss on the windows that judge, and `gain_error` the standard error of
    that; None where nothing was judged. Of a refused merge they are those of the row that was judged last. `certainty`
    is the part of the neighbours' weights that the error of the gain has left in `row`.
    """

    row: Row
    temperature: float | None
    guard: Guard
    gain: float | None = None
    gain_error: float = 0.0
    certainty: float = 1.0


def alone(neighbours: int) -> Row:
    """The row that keeps everything: 1 for this peer, 0 for each neighbour."""
    return (1.0, *(0.0 for _ in range(neighbours)))


def judged(candidates: Sequence[Candidate], answer: Evaluated, *, errors: float) -> Choice | None:
    """The candidate of least loss on the windows that propose, and "taken" or "refused" by those that judge; None where
    no candidate has a loss.

    `answer` has one entry for each candidate, and last that of keeping everything. A peer whose own adapter has
    diverged, so that no gain is a number, may take any row whose loss is one.
    """
    index = chosen(candidates, answer.proposed[:-1])
    if index is None:
        return None
    gain, error = answer.gains[index], answer.errors[index]
    diverged = not math.isfinite(answer.losses[-1])
    better = answer.proposed[index] < answer.proposed[-1] and gain > errors * error
    good = math.isfinite(answer.losses[index]) if diverged else better
    one = candidates[index]
    return Choice(one.row, one.temperature, "taken" if good else "refused", gain, error)


def shrunk_rows(candidates: Sequence[Candidate], proposed: Sequence[float]) -> tuple[Candidate, ...]:
    """The best candidate by these losses, moved halfway towards keeping everything `SHRINK_TRIES` times."""
    start = candidates[chosen(candidates, proposed) or 0]
    rows: list[Candidate] = []
    row = start.row
    for _ in range(SHRINK_TRIES):
        row = shrunk(row)
        rows.append(Candidate(start.temperature, row))
    return tuple(rows)
