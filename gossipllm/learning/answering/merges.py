"""The answers that replace the adapter between local steps: `Merge`, `Absorb` and `Restore`.

Axes: W windows.
"""

from __future__ import annotations

import time
from dataclasses import replace

import msgspec
import numpy as np

from gossipllm.learning.answering.memory import LearnerMemory
from gossipllm.learning.jobs.jobs import Task, losses_of
from gossipllm.learning.learner_state import LearnerState, resumed
from gossipllm.learning.training.iterate_average import with_average_of
from gossipllm.work import (
    Absorb,
    Failed,
    Merge,
    Merged,
    RequestId,
    Restore,
)
from wire.floats import F32


def merged(memory: LearnerMemory, request: Merge) -> Task[Merged | Failed]:
    began, now = time.perf_counter(), memory.now
    tried = memory.neighbours.merged(request.row, request.updates, memory.composition.target(now))
    if tried is None:
        return (yield from _told(memory, _taught(memory, request, began, now, memory.trust_losses_W)))
    to, losses_W = memory.composition.after(now, tried.mixed.state), tried.trust_losses_W
    other = yield from memory.training.refined(
        now, request.row, lambda: memory.neighbours.moves(request.updates, memory.composition.target(now))
    )
    if other is not None:
        losses_W, other_W = yield from losses_of((to.state, other.state), memory.measuring.trust_WT, "trust")
        if memory.measuring.trust_loss(other_W) < memory.measuring.trust_loss(losses_W):
            to, losses_W = other, other_W
    discarded = 0.0 if to is other else tried.mixed.discarded
    return (yield from _told(memory, _taught(memory, request, began, to, losses_W, discarded=discarded)))


def absorbed(memory: LearnerMemory, request: Absorb) -> Task[Merged | Failed]:
    began, now = time.perf_counter(), memory.now
    if now.pushed is None:
        raise ValueError("Absorb is for mixing by push-sum")
    pushed, refused = now.pushed.absorbed(request.shares)
    state = pushed.estimate(now.state, memory.blueprint.trained)
    to = replace(now, state=state, pushed=pushed)
    reply = yield from _told(memory, _move(memory, request.request, began, to, None))
    return msgspec.structs.replace(reply, refused=refused) if isinstance(reply, Merged) else reply


def restored(memory: LearnerMemory, request: Restore) -> Task[Merged | Failed]:
    if memory.now.pushed is not None:
        raise ValueError(
            "Restore is not for mixing by push-sum: mass that was handed out cannot be taken back"
        )
    began, before = time.perf_counter(), memory.now
    configured = memory.composition.blueprint
    test_alone = yield from memory.measuring.test_loss(memory.state)
    # Before it is measured, because pruning may have lowered the rank since, and the fleet is that of the rank.
    restored = resumed(request.snapshot, configured, memory.fingerprints)
    if request.keeps_average:
        restored = with_average_of(restored, before)
    # What was announced stays so.
    memory.become(
        replace(restored, round=memory.round, announced=before.announced, least_own=before.least_own)
    )
    try:
        test_loss = yield from memory.measuring.test_loss(memory.state)
        trust_losses_W = yield from memory.own_trust_losses()
    except Exception:
        memory.become(before)
        raise
    memory.forget_measured()
    reply = _moved(memory, request.request, began, trust_losses_W, test_alone, test_loss)
    return msgspec.structs.replace(reply, forgotten=(yield from memory.retention.forgotten(memory.state)))


def _told(memory: LearnerMemory, answered: Task[Merged | Failed]) -> Task[Merged | Failed]:
    """The answer with what the adapter has forgotten, where the configuration asks for that."""
    reply = yield from answered
    if isinstance(reply, Failed):
        return reply
    return msgspec.structs.replace(reply, forgotten=(yield from memory.retention.forgotten(memory.state)))


def _taught(
    memory: LearnerMemory,
    request: Merge,
    began: float,
    to: LearnerState,
    trust_losses_W: F32 | None,
    *,
    discarded: float = 0.0,
) -> Task[Merged | Failed]:
    """Distil into what the merge gave, where the configuration asks for it, and move there."""
    outcome = yield from memory.distilling.after_merge(
        request,
        to,
        trust_losses_W,
        moved=to is not memory.now,
        neighbours=memory.neighbours,
        own_predictions=memory.own_predictions,
    )
    if outcome is not None:
        to, trust_losses_W = outcome.after, outcome.trust_losses_W
    reply = yield from _move(memory, request.request, began, to, trust_losses_W, discarded=discarded)
    if outcome is None or isinstance(reply, Failed):
        return reply
    return msgspec.structs.replace(reply, distilled=outcome.record)


def _move(
    memory: LearnerMemory,
    request: RequestId,
    began: float,
    to: LearnerState,
    trust_losses_W: F32 | None,
    *,
    discarded: float = 0.0,
) -> Task[Merged | Failed]:
    """Replace the learner's state by `to`, unless its losses are not finite: then nothing changes and `Failed` says
    so. `trust_losses_W` are those of `to` where they are known. `began` is the performance counter's value when
    the request came."""
    test_alone = test_merged = yield from memory.measuring.test_loss(memory.state)
    if trust_losses_W is None:
        trust_losses_W = yield from memory.measuring.trust_losses(to.state)
    if to is not memory.now:
        test_merged = yield from memory.measuring.test_loss(to.state)
        if not (np.isfinite(test_merged) and np.isfinite(trust_losses_W).all()):
            # Finite numbers can still be too large to compute with, and no later training would recover.
            memory.neighbours.forget()
            why = "refused a merge whose loss is not finite"
            return Failed(request=request, why=why, users_fault=False)
    memory.become(to, trust_losses_W)
    memory.neighbours.forget()
    return _moved(memory, request, began, trust_losses_W, test_alone, test_merged, discarded=discarded)


def _moved(
    memory: LearnerMemory,
    request: RequestId,
    began: float,
    trust_losses_W: F32,
    test_alone: float,
    test_merged: float,
    *,
    discarded: float = 0.0,
) -> Merged:
    return Merged(
        request=request,
        snapshot=memory.snapshot(),
        trust_loss=memory.measuring.trust_loss(trust_losses_W),
        test_alone=test_alone,
        test_merged=test_merged,
        discarded=discarded,
        seconds=time.perf_counter() - began,
    )
