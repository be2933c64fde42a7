"""Holds a neighbour's predictions against its update: some windows of the reference set are predicted again from it.

The reference rows to look at are drawn after the author committed itself to both. Each window that holds one of them is
predicted whole, because its positions cost one pass together; the passes of all neighbours are one batch. Predictions
are rounded as they would be to be sent. What differs honestly is the rounding of the update and the precision of the
base (`gossipllm.work.BIND_TOLERANCE` has the measurements).

The update is completed to the adapter that its author had: at the author's rank, and zero in the modules that it leaves
out. Where an update holds some layers or heads of a module and not others, its author trains a part of its adapter at a
time, and the rest of that adapter is not known here: then nothing can be held against it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gossipllm.learning.jobs.jobs import LastLogitsJob, PredictJob, Task, side_by_side
from gossipllm.learning.merging.distances.distances import Blob
from gossipllm.learning.merging.updates import Update
from gossipllm.learning.shared_model import SharedModel
from gossipllm.model.adapter.anatomy import Anatomy
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.text.reference import ReferenceSet
from gossipllm.text.windows import rows_of, targets
from trust.rows.evidence import prediction_distance
from wire.predictions.logits import (
    LogitRows,
    SparseRows,
    decode_logits,
    decode_rows,
    encode_logits,
    encode_rows,
)


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A neighbour's update, its predictions, and the rows of these to look at."""

    update: Update
    blob: Blob
    rows: Collection[int]


def mismatches(shared: SharedModel, blueprint: Blueprint, claims: Sequence[Claim]) -> Task[list[float]]:
    """For each claim the mean total variation between what was sent and what the update gives, over the windows that
    hold the rows; 0 where there is no row to look at, or the author's adapter is not known whole, 1 where the update
    gives no numbers. `blueprint` is this peer's own.
    """
    found = [0.0] * len(claims)
    looked = [
        index
        for index, claim in enumerate(claims)
        if claim.rows and is_whole(blueprint.anatomy, claim.update.units)
    ]
    jobs = [_job(shared, blueprint, claims[index]) for index in looked]
    for index, again in zip(looked, (yield from side_by_side(jobs)), strict=True):
        claim = claims[index]
        found[index] = _apart(again, _part(claim.blob, _sent(shared.reference, claim)), shared.reference)
    return found


def is_whole(anatomy: Anatomy, units: Collection[int]) -> bool:
    """Whether an update of these units may be all that its author's adapter holds: for every kind of module, such as
    `q_proj`, all units of the base or none, and no factor that never travels."""
    if anatomy.kept:
        return False
    held = set(units)
    kinds = [frozenset(one.rpartition(".")[2] for one in modules) for modules in anatomy.modules_of]
    offered = frozenset[str]().union(*(kinds[unit] for unit in held))
    return not any(kind & offered for unit, kind in enumerate(kinds) if unit not in held)


def author_state(blueprint: Blueprint, update: Update) -> State:
    """The adapter that an update comes from, zero in what it leaves out. `blueprint` is of the author's rank and of all
    modules."""
    frozen = blueprint.frozen
    state = {
        spec.name: frozen[spec.name] if spec.name in frozen else np.zeros(spec.shape, np.float32)
        for spec in blueprint.layout.tensors
    }
    return blueprint.placed(update.state, update.units, state)


def _job(shared: SharedModel, own: Blueprint, claim: Claim) -> PredictJob | LastLogitsJob:
    config = replace(own.config, rank=claim.update.offer.rank or own.config.rank, modules=())
    state = author_state(shared.blueprint(config), claim.update)
    reference = shared.reference
    windows_WT = reference.windows_WT[_windows(reference, claim)]
    shape = replace(reference.shape, rows=len(_sent(reference, claim)))
    return (LastLogitsJob if shape.raw else PredictJob)(state, windows_WT, shape, config)


def _windows(reference: ReferenceSet, claim: Claim) -> NDArray[np.int64]:
    """The windows that hold a claim's rows, ascending."""
    rows = np.array(sorted(claim.rows), np.int64)
    if reference.shape.raw:
        return rows
    return np.unique(np.searchsorted(np.cumsum(targets(reference.windows_WT)), rows, side="right"))


def _sent(reference: ReferenceSet, claim: Claim) -> NDArray[np.int64]:
    """The rows of all of these windows."""
    windows = _windows(reference, claim)
    return windows if reference.shape.raw else rows_of(reference.windows_WT, windows)


def _part(blob: Blob, rows: NDArray[np.int64]) -> Blob:
    if isinstance(blob, LogitRows):
        return LogitRows(blob.ids_RK[rows], blob.logits_RK[rows])
    return SparseRows(blob.ids_RK[rows], blob.logp_RK[rows], blob.tail_R[rows])


def _apart(again: Blob, sent: Blob, reference: ReferenceSet) -> float:
    """Mean total variation, after what was computed again was rounded as it would be to be sent."""
    shape = replace(reference.shape, rows=len(again.ids_RK))
    try:
        if isinstance(again, LogitRows):
            assert isinstance(sent, LogitRows), "one reference set has one form"
            rounded = decode_logits(encode_logits(again, shape), shape)
            return prediction_distance(_likely(rounded), _likely(sent)).mean
        assert isinstance(sent, SparseRows), "one reference set has one form"
        return prediction_distance(decode_rows(encode_rows(again, shape), shape), sent).mean
    except ValueError:
        # What an update gives is infinite or no number, which nobody can have sent.
        return 1.0


def _likely(rows: LogitRows) -> SparseRows:
    """Raw logits as probabilities among those that were kept."""
    exact_RK = rows.logits_RK.astype(np.float64)
    exact_RK -= exact_RK.max(axis=1, keepdims=True)
    exact_RK -= np.log(np.exp(exact_RK).sum(axis=1, keepdims=True))
    return SparseRows(rows.ids_RK, exact_RK.astype(np.float32), np.zeros(len(exact_RK), np.float32))
