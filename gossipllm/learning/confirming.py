"""Tries neighbours one by one: what each does to this peer's trust loss, and whether it is a copy.

A neighbour is tried as it would be merged: by the row (1 - share, share), through the same rule, units and clip as any
other row. All trials are one job, over the windows that neighbours are weighed on. A neighbour that a twin stands for
takes no pass.

Nothing that a neighbour sent makes this fail: an update that cannot be decoded, merged or measured has no gain (NaN).

Axes: W windows, R rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from gossipllm.learning.jobs import Task, losses_of
from gossipllm.learning.measuring import Measuring
from gossipllm.learning.merging.averages import mean_loss, standard_error
from gossipllm.learning.merging.distances import Blob, OwnEvidence
from gossipllm.learning.merging.inner_products import OfferedPieces, inner_products
from gossipllm.learning.merging.neighbours import Neighbours
from gossipllm.learning.merging.stack import OwnAdapter
from gossipllm.learning.merging.twins import NEGLIGIBLE, SELF, least_sine, sine, sizes_of, twins_of
from gossipllm.learning.merging.updates import Update
from gossipllm.model.adapter.names import State
from gossipllm.work import Confirm, Confirmation, Confirmed, Finalist
from trust.rows.evidence import prediction_distance
from wire.errors import WireError
from wire.floats import F32
from wire.logits import LogitRows, SparseRows

NEAR_PREDICTIONS: Final = 1e-3
"""Mean total variation below which predictions are nearly identical."""

_COMPARED_ROWS: Final = 64
"""Rows on which predictions are compared with each other, spread over the reference set: enough to tell copies."""


def confirmed(
    request: Confirm,
    *,
    mine: OwnEvidence,
    own: OwnAdapter,
    own_loss: float,
    neighbours: Neighbours,
    measuring: Measuring,
) -> Task[Confirmed]:
    finalists = request.finalists
    updates = [_update(neighbours, each) for each in finalists]
    blobs = [_blob(measuring, each) for each in finalists]
    sizes, twins = _compared(mine, finalists, updates, blobs)
    trials: dict[int, State] = {}
    for index, update in enumerate(updates):
        if update is not None and twins[index] == index:
            state = _tried(neighbours, update, request.share, own)
            if state is not None:
                trials[index] = state
    losses = yield from losses_of(tuple(trials.values()), mine.trust_WT, "trust")
    gains = {index: _gain(mine, losses_W) for index, losses_W in zip(trials, losses, strict=True)}
    unknown = (math.nan, math.nan)
    return Confirmed(
        request=request.request,
        own_loss=own_loss,
        results=tuple(
            Confirmation(
                gain=gains.get(index, unknown)[0],
                error=gains.get(index, unknown)[1],
                mismatch=0.0,
                twin=twins[index],
                size=sizes[index],
            )
            for index in range(len(finalists))
        ),
    )


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


def _tried(neighbours: Neighbours, update: Update, share: float, own: OwnAdapter) -> State | None:
    try:
        return neighbours.beside(update, share, own)
    except np.linalg.LinAlgError:
        return None


def _gain(mine: OwnEvidence, losses_W: F32) -> tuple[float, float]:
    """By how much the loss falls, and the standard error of that; NaN where a loss is not finite."""
    if not np.isfinite(losses_W).all():
        return math.nan, math.nan
    falls_W = mine.trust_losses_W - losses_W
    return mean_loss(falls_W, mine.weights_W), standard_error(falls_W, mine.weights_W)


# -- copies -------------------------------------------------------------------------------------------


def _compared(
    mine: OwnEvidence,
    finalists: Sequence[Finalist],
    updates: Sequence[Update | None],
    blobs: Sequence[Blob | None],
) -> tuple[list[float], list[int]]:
    """The size of each finalist, and the twin that stands for it."""
    blueprint = mine.blueprint
    rank, units = blueprint.rank, blueprint.own
    own, before = (
        OfferedPieces(rank, units, blueprint.pieces(state, units)) for state in (mine.state, mine.start)
    )
    others = [
        OfferedPieces(rank, (), {})
        if each is None
        else OfferedPieces(each.offer.rank, each.units, each.state)
        for each in updates
    ]
    inner = inner_products(blueprint, [own, *others])
    least = least_sine(inner_products(blueprint, [before, own]))
    sizes = sizes_of(inner)
    rows = [_few(blob) for blob in (mine.blob, *blobs)]

    def near(one: int, other: int) -> bool:
        if updates[one] is None:
            return False
        if other == SELF:
            if sizes[one] <= NEGLIGIBLE:
                return True
        elif finalists[one].update.digest == finalists[other].update.digest:
            return True
        # Adapter 0 is this peer's own, adapter k + 1 that of finalist k; SELF + 1 is 0.
        return sine(inner.between(one + 1, other + 1)) <= least or _alike(rows[one + 1], rows[other + 1])

    return sizes, twins_of(len(finalists), near)


def _few(blob: Blob | None) -> Blob | None:
    """Some rows of predictions, spread over all."""
    if blob is None:
        return None
    few = slice(None, None, max(1, len(blob.ids_RK) // _COMPARED_ROWS))
    if isinstance(blob, LogitRows):
        return LogitRows(blob.ids_RK[few], blob.logits_RK[few])
    return SparseRows(blob.ids_RK[few], blob.logp_RK[few], blob.tail_R[few])


def _alike(one: Blob | None, other: Blob | None) -> bool:
    if isinstance(one, SparseRows) and isinstance(other, SparseRows):
        return prediction_distance(one, other).mean <= NEAR_PREDICTIONS
    if isinstance(one, LogitRows) and isinstance(other, LogitRows):
        # Raw logits are sent in float32 and unrounded: copies are equal.
        return np.array_equal(one.ids_RK, other.ids_RK) and np.array_equal(one.logits_RK, other.logits_RK)
    return False
