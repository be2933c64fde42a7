"""The answer to `Train`: local steps, then the update and the predictions that neighbours will receive.

Axes: W windows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gossipllm.config.choices import MIXINGS
from gossipllm.learning.answering.memory import LearnerMemory
from gossipllm.learning.jobs.jobs import Task
from gossipllm.learning.learner_state import LearnerState, diverged, saved
from gossipllm.learning.merging.pruning import kept_rank, without_tail
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.learning.training.iterate_average import at_average, with_iterate, without_average
from gossipllm.learning.training.training import OnProgress
from gossipllm.work import (
    Averaged,
    Train,
    Trained,
)
from wire.digest import Content
from wire.floats import F32


def trained(memory: LearnerMemory, request: Train, on_progress: OnProgress) -> Task[Trained]:
    # Measured first: the state that steps begin from may be the best that the own text ever had.
    before_W = (yield from memory.own_trust_losses()) if memory.own_text.bounds else None
    before = yield from memory.training.settled(memory.now)
    yield from memory.retention.began(before.state)
    keeps = memory.retention.of_steps(request.round, request.steps)
    local = yield from memory.training.perform(request, before, on_progress, keeps)
    if before_W is not None:
        local = local.at((yield from memory.own_text.shortened(before, before_W, local.after.state)))
    done, kept = local.done, kept_rank(before.state, local.after.state, before.blueprint)
    # Measured before the rank changes, because the fleet in use is still that of the rank that was trained.
    state, start = (without_tail(one, kept) for one in (local.after.state, before.state))
    after = local.after.narrowed(kept)
    composed = memory.composition
    updates = UpdateFormat(composed.published_form(after.blueprint), memory.config.mixing)
    try:
        published, begun = composed.published(after.state), composed.published(after.start)
        # In a round in which the rank falls, predictions are of the rank that was trained, and so of no rounded update.
        falls = after.blueprint is not local.after.blueprint
        send = memory.rounder.whole if falls else memory.rounder.rounded
        sent = send(updates, published, begun, after.units, after.announced)
    except ValueError as error:
        raise diverged(error) from None
    after = replace(after, announced=sent.announced)
    alone = composed.alone(composed.published(state) if falls else sent.state)
    blob, evidence = yield from memory.measuring.predicted(alone)
    rows, byte_rows = (
        (yield from memory.measuring.predicted_bytes(alone)) if request.byte_rows else (None, b"")
    )
    trust_losses_W = yield from memory.measuring.trust_losses(state)
    if not np.isfinite(trust_losses_W).all():
        raise diverged("its loss on the trust split is not finite")
    if "progress" in memory.config.evidence:
        memory.start_losses_W = yield from memory.measuring.trust_losses(start)
    after, average = yield from _averaged(memory, request, after, trust_losses_W)
    memory.become(after, trust_losses_W)
    memory.published, memory.published_bytes = blob, rows
    return Trained(
        request=request.request,
        round=request.round,
        update=sent.update,
        packed=sent.packed,
        offer=updates.schema.offer(after.units, updates.blueprint.rank),
        evidence=Content.of(evidence),
        snapshot=memory.snapshot(),
        tokens=done.tokens,
        samples=done.samples,
        steps=request.steps,
        train_loss=done.loss,
        trust_loss=memory.measuring.trust_loss(trust_losses_W),
        seconds=done.seconds,
        importance=local.importance,
        shares=local.shares,
        contexts=() if local.within.made is None else (local.within.made,),
        context_refused=local.within.refused,
        note=local.within.note,
        average=average,
        byte_rows=Content.of(byte_rows) if byte_rows else None,
    )


def _averaged(
    memory: LearnerMemory, request: Train, after: LearnerState, present_W: F32
) -> Task[tuple[LearnerState, Averaged | None]]:
    """`after`, whose trust losses are `present_W`, with the average that is kept of such states, and the average where
    it is measured: not below `request.average_from`, and not where the present state is all that is in it. An adapter
    of two parts is more than its tensors, and has no average."""
    if request.average_from is None or MIXINGS[memory.config.mixing].beside:
        return without_average(after), None
    if request.steps:
        after = with_iterate(after)
    measuring = memory.measuring
    if after.averaged < 2 or measuring.trust_loss(present_W) < request.average_from:
        return after, None
    losses_W = yield from measuring.trust_losses(after.average)
    if not np.isfinite(losses_W).all():
        return without_average(after), None
    if not memory.own_text.spares(after, present_W, losses_W):
        return after, None
    snapshot = saved(at_average(after), memory.config, memory.fingerprints)
    return after, Averaged(
        snapshot=snapshot,
        trust_loss=measuring.trust_loss(losses_W),
        error=measuring.trust_error(losses_W - present_W),
    )
