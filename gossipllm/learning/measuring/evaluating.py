"""Evaluates rows: the losses of the merges that they would give, as cheaply as a choice among them needs.

All rows are measured on the windows that propose. Only the best of them can be merged next, so only that one is
measured on the windows that judge as well (`learning.measuring.halves`). Where all windows propose and judge, every row
has all of them.

Axes: W trust windows, P of them propose and J judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from gossipllm.learning.jobs.jobs import Task, losses_of
from gossipllm.learning.measuring.halves import Halves
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.merging.neighbours import Neighbours, Target, TriedMerge
from gossipllm.work import Evaluate, Evaluated
from wire.floats import F32


def evaluated(
    request: Evaluate,
    *,
    own_W: F32,
    target: Target,
    neighbours: Neighbours,
    measuring: Measuring,
    spares: Callable[[F32], bool],
    round_: int,
) -> Task[Evaluated]:
    """`own_W` are the losses of the adapter as it is, which rows that keep everything have. A merge whose trust losses
    do not pass `spares` gains nothing."""
    split = measuring.halves(round_)
    proposing_P, judging_J = split.proposing_P, split.judging_J
    tried = [neighbours.merged(row, request.updates, target) for row in request.rows]
    new = [one for one in tried if one is not None and one.proposed_P is None]
    if new:
        states = tuple(one.state for one in new)
        for one, losses_P in zip(
            new, (yield from losses_of(states, measuring.trust_WT[proposing_P], "trust")), strict=True
        ):
            one.proposed_P = losses_P
            if split.whole:
                one.trust_losses_W = losses_P
    proposed = [
        measuring.loss_at(own_W, proposing_P)
        if one is None or one.proposed_P is None
        else measuring.loss_of(one.proposed_P, proposing_P)
        for one in tried
    ]
    best = _best(request.rows[:-1], proposed)
    winner = None if best is None else tried[best]
    if winner is not None and winner.trust_losses_W is None:
        (losses_J,) = yield from losses_of((winner.state,), measuring.trust_WT[judging_J], "trust")
        winner.trust_losses_W = _joined(own_W, winner, split, losses_J)
    own, own_judged = measuring.trust_loss(own_W), measuring.loss_at(own_W, judging_J)
    losses, gains, errors = list[float](), list[float](), list[float]()
    for one, loss in zip(tried, proposed, strict=True):
        losses_W = own_W if one is None else one.trust_losses_W
        if losses_W is None:
            losses.append(own + loss - proposed[-1])
            gains.append(math.nan)
            errors.append(math.nan)
        else:
            losses.append(measuring.trust_loss(losses_W))
            gain = own_judged - measuring.loss_at(losses_W, judging_J)
            gains.append(gain if spares(losses_W) else min(gain, 0.0))
            errors.append(measuring.error_at(losses_W - own_W, judging_J))
    return Evaluated(
        request=request.request,
        losses=tuple(losses),
        proposed=tuple(proposed),
        gains=tuple(gains),
        errors=tuple(errors),
    )


def _best(rows: Sequence[tuple[float, ...]], proposed: Sequence[float]) -> int | None:
    """The row that will be chosen (`trust.rows.rows.chosen`): of the least loss, and of equal ones the one that keeps
    more."""
    finite = [index for index in range(len(rows)) if math.isfinite(proposed[index])]
    return min(finite, key=lambda index: (proposed[index], -rows[index][0]), default=None)


def _joined(own_W: F32, winner: TriedMerge, split: Halves, losses_J: F32) -> F32:
    losses_W = np.empty_like(own_W)
    losses_W[split.proposing_P] = winner.proposed_P
    losses_W[split.judging_J] = losses_J
    return losses_W
