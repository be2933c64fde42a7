"""Tries neighbours one by one: what each does to this peer's trust loss, and whether it is a copy.

A neighbour is tried as it would be merged: by the row (1 - share, share), through the same rule, units and clip as any
other row. All trials are one job, over the windows that neighbours are weighed on; over the first of them where there
are so many neighbours that the trials would cost more than the defences may. A neighbour that a twin stands for takes
no pass.

Nothing that a neighbour sent makes this fail: an update that cannot be decoded, merged or measured has no gain (NaN),
and predictions do not match an update that cannot be decoded.

Axes: W windows.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from gossipllm.learning.jobs.jobs import Task, losses_of
from gossipllm.learning.measuring.binding import Claim, mismatches
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.merging.averages import mean_loss, standard_error
from gossipllm.learning.merging.distances.distances import Blob, OwnEvidence
from gossipllm.learning.merging.distances.likeness import Likeness
from gossipllm.learning.merging.neighbours import Neighbours, Target
from gossipllm.learning.merging.updates import Update
from gossipllm.learning.shared_model import SharedModel
from gossipllm.model.adapter.names import State
from gossipllm.work import BIND_TOLERANCE, Confirm, Confirmation, Confirmed, Finalist
from wire.errors import WireError
from wire.floats import F32

TRIAL_WINDOWS: Final = 64
"""Windows that all trials of a round read together: with 16 neighbours at 8 windows each, the defences took 22 % of a
round (`benchmarks/defence_cost.py`)."""
LEAST_WINDOWS: Final = 4
"""Windows of a trial at least, however many neighbours there are: a standard error needs some."""


def confirmed(
    request: Confirm,
    *,
    mine: OwnEvidence,
    target: Target,
    own_loss: float,
    neighbours: Neighbours,
    measuring: Measuring,
    shared: SharedModel,
) -> Task[Confirmed]:
    finalists = request.finalists
    updates = [_update(neighbours, each) for each in finalists]
    blobs = [_blob(measuring, each) for each in finalists]
    likeness = Likeness(mine, updates, blobs, [each.update.digest for each in finalists])
    claims: dict[int, Claim] = {}
    for index, twin in enumerate(likeness.by_update()):
        update, blob = updates[index], blobs[index]
        if twin == index and update is not None and blob is not None:
            claims[index] = Claim(update, blob, finalists[index].rows)
    found = yield from mismatches(shared, mine.blueprint, list(claims.values()))
    mismatch = {
        index: 1.0 if updates[index] is None or (each.rows and blobs[index] is None) else 0.0
        for index, each in enumerate(finalists)
    } | dict(zip(claims, found, strict=True))
    twins = likeness.by_all(frozenset(index for index, far in mismatch.items() if far > BIND_TOLERANCE))
    trials: dict[int, State] = {}
    for index, update in enumerate(updates):
        if update is not None and twins[index] == index:
            state = _tried(neighbours, update, request.share, target)
            if state is not None:
                trials[index] = state
    few = _windows(mine, len(trials))
    losses = yield from losses_of(tuple(trials.values()), mine.trust_WT[few], "trust")
    gains = {index: _gain(mine, losses_W, few) for index, losses_W in zip(trials, losses, strict=True)}
    results: list[Confirmation] = []
    for index, twin in enumerate(twins):
        gain, error = gains.get(index, (math.nan, math.nan))
        results.append(
            Confirmation(
                gain=gain, error=error, mismatch=mismatch[index], twin=twin, size=likeness.sizes[index]
            )
        )
    return Confirmed(request=request.request, own_loss=own_loss, results=tuple(results))


def _update(neighbours: Neighbours, finalist: Finalist) -> Update | None:
    try:
        return neighbours.decoded(finalist.update)
    except WireError:
        return None


def _blob(measuring: Measuring, finalist: Finalist) -> Blob | None:
    try:
        return None if finalist.evidence is None else measuring.decoded(finalist.evidence.data)
    except WireError:
        return None


def _tried(neighbours: Neighbours, update: Update, share: float, target: Target) -> State | None:
    try:
        return neighbours.tried(update, share, target)
    except np.linalg.LinAlgError:
        return None


def _windows(mine: OwnEvidence, trials: int) -> slice:
    """The windows of each trial: all of them, where the first ones hold no text that bears loss."""
    few = slice(max(LEAST_WINDOWS, TRIAL_WINDOWS // max(1, trials)))
    silent = mine.weights_W is not None and not mine.weights_W[few].any()
    return slice(None) if silent else few


def _gain(mine: OwnEvidence, losses_W: F32, few: slice) -> tuple[float, float]:
    """By how much the loss falls, and the standard error of that; NaN where a loss is not finite."""
    if not np.isfinite(losses_W).all():
        return math.nan, math.nan
    falls_W = mine.trust_losses_W[few] - losses_W
    weights_W = None if mine.weights_W is None else mine.weights_W[few]
    return mean_loss(falls_W, weights_W), standard_error(falls_W, weights_W)
