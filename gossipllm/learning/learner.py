"""A peer's learner: performs the requests of `work.py` on one adapter and one text.

    Open      the state to go on from, the splits
    Train     local steps, then the adapter's bytes and predictions as others will see them
    Weigh     a neighbour's bytes -> its distances, or `Declined`
    Evaluate  rows -> the trust loss that each merge would give
    Fit       a row -> one that was learned from it
    Merge     a row -> the adapter

What a request needs of neighbours comes with it as contents; decoded updates, their common bases and the
merges that `Evaluate` tried are kept, the merges until the adapter changes, the rest until the next `Merge`, so
that merging what was tried is free (`neighbours.py`).

Every answer is a `Task`: where it needs the model it yields a job, and who performs the job, alone or together
with those of other learners, is not its matter (`crew.py`). An adapter is changed by `Train` and `Merge` only,
in one assignment after everything that may fail.

Axes: W windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

import numpy as np

from gossipllm.config import LearnerConfig
from gossipllm.learning.batches import batches
from gossipllm.learning.distances import Blob, Mine, measured, own_measures
from gossipllm.learning.jobs import Steps, Task, last_logits_of, losses_of, predictions_of, stepped
from gossipllm.learning.materials import Materials
from gossipllm.learning.neighbours import Neighbours
from gossipllm.learning.optimiser import Moments
from gossipllm.learning.rows import learned_row
from gossipllm.mistakes import UserMistake
from gossipllm.model.names import State
from gossipllm.model.snapshots import (
    Snapshot,
    SnapshotHeader,
    check_snapshot,
    decode_snapshot,
    encode_snapshot,
)
from gossipllm.text.data import Splits
from gossipllm.work import (
    Answer,
    Declined,
    Evaluate,
    Evaluated,
    Failed,
    Fit,
    Fitted,
    Merge,
    Merged,
    Open,
    Opened,
    Progress,
    Request,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from trust.evidence import Distance
from wire.digest import Content
from wire.errors import WireError
from wire.floats import F32
from wire.logits import decode_logits, decode_rows, encode_logits, encode_rows

OnProgress = Callable[[Progress], None]

PUBLISHED_BATCHES: Final = 12
"""Batches on which the released code of Wagner et al. (2024) measures a perplexity."""


@dataclass(frozen=True, slots=True, eq=False)
class _Standing:
    """The adapter, from where its last local steps began, and the optimiser's memory."""

    state: State
    start: State
    moments: Moments


class Learner:
    """Answers `Open` first."""

    def __init__(self, config: LearnerConfig, materials: Materials, splits: Splits) -> None:
        self.config = config
        self.round = 0
        self.materials = materials
        self._updates = materials.updates
        self._reference = materials.reference
        self._train_WT = splits.train_WT
        self._trust_WT = splits.trust_WT[: config.data.trust_windows]
        self._test_WT = splits.test_WT[: config.data.test_windows]
        self._neighbours = Neighbours(materials.updates, config)
        start = materials.blueprint.start(config.training.seed)
        self._now = _Standing(start, start, Moments())
        self._published: Blob | None = None
        self._trust_losses_W: F32 | None = None
        self._start_losses_W: F32 | None = None

    @property
    def state(self) -> State:
        """The adapter as it is. Not to be written to."""
        return self._now.state

    def answer(self, request: Request, on_progress: OnProgress) -> Task[Answer]:
        """Raises `UserMistake` for what the user can mend, and whatever the jobs raise."""
        match request:
            case Open():
                return (yield from self._open(request))
            case Train():
                return (yield from self._train(request, on_progress))
            case Weigh():
                return (yield from self._weigh(request))
            case Evaluate():
                return (yield from self._evaluate(request))
            case Fit():
                return (yield from self._fit(request))
            case Merge():
                return (yield from self._merge(request))
            case _:
                assert_never(request)

    # -- the state ----------------------------------------------------------------------------------

    def _open(self, request: Open) -> Task[Opened]:
        if request.snapshot is not None:
            self._resume(decode_snapshot(request.snapshot.data))
        shape, layout = self._reference.shape, self._updates.layout
        test_loss = yield from self._test_loss(self.state)
        return Opened(
            request=request.request,
            fingerprints=self.materials.fingerprints,
            shapes=tuple((spec.name, spec.shape) for spec in layout.tensors),
            codec=layout.codec,
            rows=shape.rows,
            top=shape.top,
            vocabulary=shape.vocabulary,
            raw=shape.raw,
            round=self.round,
            train_tokens=self._train_WT.size,
            trust_tokens=self._trust_WT.size,
            test_tokens=self._test_WT.size,
            test_loss=test_loss,
            device=str(self.materials.base.device),
            dtype=str(self.materials.base.dtype).removeprefix("torch."),
        )

    def snapshot(self) -> Content:
        """All that resuming needs; equal states give equal bytes."""
        config, names = self.config, self.materials.fingerprints
        header = SnapshotHeader(
            base=names.base,
            tokenizer=names.tokenizer,
            layout=names.layout,
            model_name=config.model.name,
            rank=config.adapter.rank,
            alpha=config.adapter.alpha,
            fan_in_fan_out=self.materials.blueprint.fan_in_fan_out,
            round=self.round,
            steps=self._now.moments.steps,
        )
        needed = config.mixing == "updates" or "progress" in config.evidence
        start: State = self._now.start if needed else {}
        moments = self._now.moments
        return Content.of(
            encode_snapshot(Snapshot(header, self._now.state, start, moments.first, moments.second))
        )

    def _resume(self, snapshot: Snapshot) -> None:
        header, mine = snapshot.header, self.materials.fingerprints
        check_snapshot(header, base=mine.base, tokenizer=mine.tokenizer, layout=mine.layout)
        moments = Moments(header.steps, snapshot.first, snapshot.second)
        self._become(_Standing(snapshot.adapter, snapshot.start or snapshot.adapter, moments))
        self._published = self._start_losses_W = None
        self._neighbours.forget()
        self.round = header.round

    def _become(self, standing: _Standing, trust_losses_W: F32 | None = None) -> None:
        self._now = standing
        self._trust_losses_W = trust_losses_W
        self._neighbours.forget_merges()

    # -- local steps --------------------------------------------------------------------------------

    def _train(self, request: Train, on_progress: OnProgress) -> Task[Trained]:
        def on_step(step: int, loss: float, tokens_per_s: float) -> None:
            on_progress(
                Progress(
                    request=request.request,
                    phase="training",
                    step=step,
                    steps=request.steps,
                    loss=loss,
                    tokens_per_s=tokens_per_s,
                )
            )

        before, config = self._now, self.config.training
        order_SB = batches(len(self._train_WT), config, round_number=request.round, steps=request.steps)
        done = yield from stepped(
            Steps(before.state, before.moments, self._train_WT, order_SB, config, on_step)
        )
        blob, evidence = yield from self._predicted(done.state)
        try:
            update = self._updates.encoded(done.state, before.state)
        except ValueError as error:
            raise _diverged(error) from None
        trust_losses_W = yield from self._trust_losses(done.state)
        if not np.isfinite(trust_losses_W).all():
            raise _diverged("its loss on the trust split is not finite")
        if "progress" in self.config.evidence:
            self._start_losses_W = yield from self._trust_losses(before.state)
        self._become(_Standing(done.state, before.state, done.moments), trust_losses_W)
        self._published = blob
        self.round = request.round
        return Trained(
            request=request.request,
            round=request.round,
            update=Content.of(update),
            evidence=Content.of(evidence),
            snapshot=self.snapshot(),
            tokens=done.tokens,
            samples=done.samples,
            steps=request.steps,
            train_loss=done.loss,
            trust_loss=_mean(trust_losses_W),
            seconds=done.seconds,
        )

    def _predicted(self, state: State) -> Task[tuple[Blob, bytes]]:
        """What an adapter predicts, as it is and as others receive it."""
        windows_WT, shape = self._reference.windows_WT, self._reference.shape
        try:
            if shape.raw:
                evidence = encode_logits((yield from last_logits_of(state, windows_WT, shape)), shape)
            else:
                evidence = encode_rows((yield from predictions_of(state, windows_WT, shape)), shape)
        except ValueError as error:
            raise _diverged(error) from None
        return self._decoded(evidence), evidence

    def _decoded(self, evidence: bytes) -> Blob:
        shape = self._reference.shape
        return decode_logits(evidence, shape) if shape.raw else decode_rows(evidence, shape)

    # -- neighbours ---------------------------------------------------------------------------------

    def _weigh(self, request: Weigh) -> Task[Weighed | Declined]:
        distances: list[Distance] = []
        try:
            update, blob = self._neighbours.decoded(request.update), self._decoded(request.evidence.data)
            mine = yield from self._mine()
            for kind in self.config.evidence:
                distance = yield from measured(kind, mine, request.author, update, blob)
                distances.append(distance)
        except WireError as error:
            return Declined(request=request.request, author=request.author, field=error.field, why=error.why)
        return Weighed(
            request=request.request,
            author=request.author,
            distances=tuple(one.mean for one in distances),
            errors=tuple(one.error for one in distances),
            own=own_measures(self.config.evidence, mine),
        )

    def _mine(self) -> Task[Mine]:
        if self._published is None:
            # After a restart: what the adapter as it is predicts stands for what was last published.
            self._published, _ = yield from self._predicted(self.state)
        if self._start_losses_W is None and "progress" in self.config.evidence:
            self._start_losses_W = yield from self._trust_losses(self._now.start)
        few = slice(self.config.data.weigh_windows)
        return Mine(
            state=self.state,
            start=self._now.start,
            blob=self._published,
            trust_WT=self._trust_WT[few],
            trust_losses_W=(yield from self._own_trust_losses())[few],
            start_loss=None if self._start_losses_W is None else _mean(self._start_losses_W[few]),
            draw=(self.config.training.seed, self.round),
            draws=PUBLISHED_BATCHES * self.config.training.batch_windows,
        )

    def _evaluate(self, request: Evaluate) -> Task[Evaluated]:
        own_W = yield from self._own_trust_losses()
        tried = [
            self._neighbours.merged(row, request.updates, state=self.state, start=self._now.start)
            for row in request.rows
        ]
        new = [one for one in tried if one is not None and one.trust_losses_W is None]
        if new:
            states = tuple(one.merged.state for one in new)
            for one, losses_W in zip(
                new, (yield from losses_of(states, self._trust_WT, "trust")), strict=True
            ):
                one.trust_losses_W = losses_W
        losses = [own_W if one is None or one.trust_losses_W is None else one.trust_losses_W for one in tried]
        return Evaluated(
            request=request.request,
            losses=tuple(_mean(loss_W) for loss_W in losses),
            errors=tuple(_standard_error(loss_W - own_W) for loss_W in losses),
        )

    def _fit(self, request: Fit) -> Task[Fitted]:
        origin, moves = self._neighbours.moves(request.updates, state=self.state, start=self._now.start)
        row_K, losses = yield from learned_row(
            request.row, moves, self._trust_WT, origin=origin, steps=request.steps, rate=request.rate
        )
        return Fitted(request=request.request, row=tuple(row_K.tolist()), losses=tuple(losses))

    def _merge(self, request: Merge) -> Task[Merged | Failed]:
        began = time.perf_counter()
        now = self._now
        test_alone = test_merged = yield from self._test_loss(now.state)
        trust_losses_W = yield from self._own_trust_losses()
        tried = self._neighbours.merged(request.row, request.updates, state=now.state, start=now.start)
        discarded = 0.0
        if tried is not None:
            merged = tried.merged
            test_merged = yield from self._test_loss(merged.state)
            trust_losses_W = tried.trust_losses_W
            if trust_losses_W is None:
                trust_losses_W = yield from self._trust_losses(merged.state)
            if not (np.isfinite(test_merged) and np.isfinite(trust_losses_W).all()):
                # Finite numbers can still be too large to compute with; nothing that follows would recover.
                self._neighbours.forget()
                why = "refused a merge whose loss is not finite"
                return Failed(request=request.request, why=why, users_fault=False)
            discarded = merged.discarded
            self._become(_Standing(merged.state, now.start, now.moments), trust_losses_W)
        self._neighbours.forget()
        return Merged(
            request=request.request,
            snapshot=self.snapshot(),
            trust_loss=_mean(trust_losses_W),
            test_alone=test_alone,
            test_merged=test_merged,
            discarded=discarded,
            seconds=time.perf_counter() - began,
        )

    # -- losses -------------------------------------------------------------------------------------

    def _own_trust_losses(self) -> Task[F32]:
        if self._trust_losses_W is None:
            self._trust_losses_W = yield from self._trust_losses(self.state)
        return self._trust_losses_W

    def _trust_losses(self, state: State) -> Task[F32]:
        (losses_W,) = yield from losses_of((state,), self._trust_WT, "trust")
        return losses_W

    def _test_loss(self, state: State) -> Task[float]:
        (losses_W,) = yield from losses_of((state,), self._test_WT, "test")
        return _mean(losses_W)


def _diverged(why: object) -> UserMistake:
    return UserMistake(f"training diverged ({why}); lower training.learning_rate")


def _mean(losses_W: F32) -> float:
    return float(losses_W.mean(dtype=np.float64))


def _standard_error(differences_W: F32) -> float:
    return float(differences_W.std(ddof=1, dtype=np.float64)) / len(differences_W) ** 0.5
