"""The answers that measure neighbours: `Weigh`, `Confirm`, `Evaluate` and `Fit`.

Axes: W windows.
"""

from __future__ import annotations

from typing import Final

from gossipllm.learning.answering.memory import LearnerMemory
from gossipllm.learning.jobs.jobs import Task
from gossipllm.learning.measuring.confirming import confirmed
from gossipllm.learning.measuring.evaluating import evaluated
from gossipllm.learning.merging.averages import mean_loss
from gossipllm.learning.merging.distances.distances import OwnEvidence, measured, own_measures
from gossipllm.learning.merging.learned_row import learned_row
from gossipllm.work import (
    Confirm,
    Confirmed,
    Declined,
    Evaluate,
    Evaluated,
    Fit,
    Fitted,
    Weigh,
    Weighed,
)
from trust.rows.byte_evidence import across_tokenizers
from trust.rows.evidence import Distance
from wire.digest import Content
from wire.errors import WireError

PUBLISHED_BATCHES: Final = 12
"""Batches on which the released code of Wagner et al. (2024) measures a perplexity, drawn with replacement."""


def weighed(memory: LearnerMemory, request: Weigh) -> Task[Weighed | Declined]:
    distances: list[Distance] = []
    try:
        if request.byte_rows is not None:
            return (yield from _weighed_by_bytes(memory, request, request.byte_rows))
        update = None if request.update is None else memory.neighbours.decoded(request.update)
        blob = None if request.evidence is None else memory.measuring.decoded(request.evidence.data)
        mine = yield from own_evidence(memory)
        for kind in memory.config.evidence:
            distance = yield from measured(kind, mine, request.author, update, blob)
            distances.append(distance)
    except WireError as error:
        return Declined(request=request.request, author=request.author, field=error.field, why=error.why)
    return Weighed(
        request=request.request,
        author=request.author,
        distances=tuple(one.mean for one in distances),
        errors=tuple(one.error for one in distances),
        own=own_measures(memory.config.evidence, mine),
    )


def _weighed_by_bytes(memory: LearnerMemory, request: Weigh, theirs: Content) -> Task[Weighed]:
    """All kinds of evidence of a peer that is compared with another tokenizer's are of predictions."""
    kinds = len(memory.config.evidence)
    rows = memory.measuring.decoded_bytes(theirs.data)
    try:
        distance = across_tokenizers((yield from memory.own_byte_rows()), rows)
    except ValueError as error:
        raise WireError("byte_rows.map", str(error)) from None
    return Weighed(
        request=request.request,
        author=request.author,
        distances=(distance.mean,) * kinds,
        errors=(distance.error,) * kinds,
        own=(0.0,) * kinds,
    )


def whether_helpful(memory: LearnerMemory, request: Confirm) -> Task[Confirmed]:
    own_W = yield from memory.own_trust_losses()
    return (
        yield from confirmed(
            request,
            mine=(yield from own_evidence(memory)),
            target=memory.composition.target(memory.now),
            own_loss=memory.measuring.trust_loss(own_W),
            neighbours=memory.neighbours,
            measuring=memory.measuring,
            shared=memory.shared,
        )
    )


def evaluated_rows(memory: LearnerMemory, request: Evaluate) -> Task[Evaluated]:
    own_W = yield from memory.own_trust_losses()
    return (
        yield from evaluated(
            request,
            own_W=own_W,
            target=memory.composition.target(memory.now),
            neighbours=memory.neighbours,
            measuring=memory.measuring,
            spares=lambda losses_W: memory.own_text.spares(memory.now, own_W, losses_W),
            round_=memory.round,
        )
    )


def fitted(memory: LearnerMemory, request: Fit) -> Task[Fitted]:
    origin, moves = memory.neighbours.moves(request.updates, memory.composition.target(memory.now))
    row_K, losses = yield from learned_row(
        request.row,
        moves,
        memory.measuring.trust_WT[memory.measuring.halves(memory.round).proposing_P],
        origin=origin,
        steps=request.steps,
        rate=request.rate,
        reduction=memory.config.training.reduction,
    )
    return Fitted(request=request.request, row=tuple(row_K.tolist()), losses=tuple(losses))


def own_evidence(memory: LearnerMemory) -> Task[OwnEvidence]:
    blob = yield from memory.own_predictions()
    if memory.start_losses_W is None and "progress" in memory.config.evidence:
        memory.start_losses_W = yield from memory.measuring.trust_losses(memory.now.start)
    few = memory.measuring.weighing(memory.round)
    weights_W = memory.measuring.weights_at(few)
    start_W = memory.start_losses_W
    return OwnEvidence(
        blueprint=memory.updates.blueprint,
        state=memory.composition.published(memory.state),
        start=memory.composition.published(memory.now.start),
        blob=blob,
        trust_WT=memory.measuring.trust_WT[few],
        trust_losses_W=(yield from memory.own_trust_losses())[few],
        weights_W=weights_W,
        start_loss=None if start_W is None else mean_loss(start_W[few], weights_W),
        draw=(memory.config.training.seed, memory.round),
        draws=PUBLISHED_BATCHES * memory.config.training.windows_of(memory.config.data.window_tokens),
        alone=memory.composition.alone,
    )
