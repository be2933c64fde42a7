"""A peer's learner: performs the requests of `work.py` on one adapter and one text.

    Open      a snapshot -> the state to go on from
    Train     local steps, then the adapter's bytes and predictions as neighbours will receive them
    Weigh     a neighbour's bytes -> its distances, or `Declined`
    Confirm   neighbours -> what each by itself does to the trust loss, and which are copies
    Evaluate  rows -> the trust loss that each merge would give
    Fit       a row -> a row that gradient descent made of it
    Merge     a row -> the adapter
    Absorb    shares of mass from neighbours -> the adapter, where mixing is by push-sum
    Restore   an earlier snapshot -> the adapter and its optimiser's state, as they were

A request carries the updates that it needs, as contents. Decoded updates and their common bases are kept until the
next `Merge`, and the merges that `Evaluate` tried until the adapter changes, so that merging by a row that was tried
costs nothing (`neighbours.py`).

Every answer is a `Task`: where it needs the model it yields a job. `learner_pool.py` performs the jobs, alone or
together with those of other learners. Only `Train`, `Merge`, `Absorb` and `Restore` change the adapter; what fails
leaves it as it was.

Axes: W windows.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final, assert_never

import msgspec
import numpy as np

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import MIXINGS
from gossipllm.learning.composition.composition import composition_of
from gossipllm.learning.confirming import confirmed
from gossipllm.learning.evaluating import evaluated
from gossipllm.learning.iterate_average import at_average, with_iterate, without_average
from gossipllm.learning.jobs import Job, LastLogitsJob, PredictJob, Task, losses_of
from gossipllm.learning.learner_state import Diverged, LearnerState, diverged, resumed, saved
from gossipllm.learning.measuring import Measuring
from gossipllm.learning.merging.averages import mean_loss
from gossipllm.learning.merging.distances import Blob, OwnEvidence, measured, own_measures
from gossipllm.learning.merging.learned_row import learned_row
from gossipllm.learning.merging.neighbours import Neighbours
from gossipllm.learning.merging.pruning import kept_rank, without_tail
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.learning.opening import opened
from gossipllm.learning.passes.block_window import block_window_count
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.learning.shared_model import SharedModel
from gossipllm.learning.training import LocalTraining, OnProgress
from gossipllm.learning.warm_start import started_warm
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.model.loading.models import spoiled_weight
from gossipllm.text.windows import Splits
from gossipllm.work import (
    Absorb,
    Answer,
    Averaged,
    Confirm,
    Confirmed,
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
    Request,
    RequestId,
    Restore,
    Train,
    Trained,
    Weigh,
    Weighed,
)
from trust.errors import UserMistake
from trust.rows.evidence import Distance
from wire.digest import Content
from wire.errors import WireError
from wire.floats import F32

PUBLISHED_BATCHES: Final = 12
"""Batches on which the released code of Wagner et al. (2024) measures a perplexity, drawn with replacement."""


class Learner:
    """One peer's adapter and text, and the answers to its core's requests. The first request must be `Open`."""

    def __init__(
        self, config: LearnerConfig, shared: SharedModel, splits: Splits, ledger: Content | None = None
    ) -> None:
        """`ledger` is that of a text on disk (`gossipllm.text.growth`). Raises `UserMistake` where the configuration
        names modules or blocks that the base does not have."""
        self._ledger = ledger
        self.config = config
        self.shared = shared
        blueprint = shared.blueprint(config.adapter)
        self._composition = composition_of(config, blueprint)
        self._updates = UpdateFormat(blueprint, config.mixing)
        self._fingerprints = shared.fingerprints(self._updates)
        self._blocks_at_once = block_window_count(config, shared.base, blueprint)
        self._splits = splits
        self._measuring = Measuring(config, splits, shared.reference)
        self._training = LocalTraining(config, shared, self._composition, splits.train_WT)
        self._neighbours = Neighbours(self._updates, config)
        self._now = self._composition.fresh()
        self._published: Blob | None = None
        self._trust_losses_W: F32 | None = None
        self._start_losses_W: F32 | None = None

    @property
    def fleet(self) -> Fleet:
        """The fleet that performs this learner's jobs. It changes with the adapter's rank, which pruning lowers."""
        return self.shared.fleet(self._blueprint.config)

    def fleet_for(self, job: Job) -> Fleet:
        """The fleet that performs this job: another one for adapters of another peer's form."""
        other = job.adapter if isinstance(job, PredictJob | LastLogitsJob) else None
        return self.fleet if other is None else self.shared.fleet(other)

    @property
    def round(self) -> int:
        return self._now.round

    @property
    def state(self) -> State:
        """The adapter as it is now. Callers must not write to it."""
        return self._now.state

    @property
    def _blueprint(self) -> Blueprint:
        return self._now.blueprint

    def answer(self, request: Request, on_progress: OnProgress) -> Task[Answer]:
        """Raises `UserMistake` for an error that the user can mend, and passes on what jobs raise."""
        try:
            return (yield from self._answered(request, on_progress))
        except Diverged:
            self._blame_base()
            raise

    def _blame_base(self) -> None:
        """Raises `UserMistake` where a weight of the base is what spoils every loss."""
        if (name := spoiled_weight(self.shared.base.model)) is not None:
            raise UserMistake(
                f"model.name: {self.config.model.name} is damaged: its weight {name} holds numbers that are not finite"
            ) from None

    def _answered(self, request: Request, on_progress: OnProgress) -> Task[Answer]:
        task: Task[Answer]
        match request:
            case Open():
                task = self._open(request)
            case Train():
                task = self._train(request, on_progress)
            case Weigh():
                task = self._weigh(request)
            case Confirm():
                task = self._confirm(request)
            case Evaluate():
                task = self._evaluate(request)
            case Fit():
                task = self._fit(request)
            case Merge():
                task = self._merge(request)
            case Absorb():
                task = self._absorb(request)
            case Restore():
                task = self._restore(request)
            case _:
                assert_never(request)
        return (yield from task)

    # -- the state ----------------------------------------------------------------------------------

    def _open(self, request: Open) -> Task[Opened]:
        if request.snapshot is not None:
            self._become(resumed(request.snapshot, self._composition.blueprint, self._fingerprints))
            self._published = self._start_losses_W = None
            self._neighbours.forget()
        elif (warm := started_warm(self.config, self._updates.blueprint)) is not None:
            self._become(self._composition.fresh(warm.state))
        test_loss = yield from self._measuring.test_loss(self.state)
        if not np.isfinite(test_loss):
            self._blame_base()
        return opened(
            request.request,
            config=self.config,
            shared=self.shared,
            updates=self._updates,
            window=self._blocks_at_once,
            pushes=self._now.pushed is not None,
            round_number=self.round,
            splits=(self._splits.train_WT, self._measuring.trust_WT, self._measuring.test_WT),
            test_loss=test_loss,
            ledger=self._ledger,
        )

    def snapshot(self) -> Content:
        """Everything that resuming needs. Equal states give equal bytes."""
        return saved(self._now, self.config, self._fingerprints)

    def _become(self, after: LearnerState, trust_losses_W: F32 | None = None) -> None:
        if after.blueprint is not self._blueprint:
            published = self._composition.published_form(after.blueprint)
            self._updates = UpdateFormat(published, self.config.mixing)
            self._neighbours = Neighbours(self._updates, self.config)
        self._now = after
        self._trust_losses_W = trust_losses_W
        self._neighbours.forget_merges()

    # -- local steps --------------------------------------------------------------------------------

    def _train(self, request: Train, on_progress: OnProgress) -> Task[Trained]:
        before = yield from self._training.settled(self._now)
        local = yield from self._training.perform(request, before, on_progress)
        done, kept = local.done, kept_rank(before.state, local.after.state, before.blueprint)
        # Measured before the rank changes, because the fleet in use is still that of the rank that was trained.
        state, start = (without_tail(one, kept) for one in (local.after.state, before.state))
        after = local.after.narrowed(kept)
        composed = self._composition
        updates = UpdateFormat(composed.published_form(after.blueprint), self.config.mixing)
        blob, evidence = yield from self._measuring.predicted(composed.alone(composed.published(state)))
        try:
            published, begun = composed.published(after.state), composed.published(after.start)
            update = updates.encoded(published, begun, after.units)
        except ValueError as error:
            raise diverged(error) from None
        trust_losses_W = yield from self._measuring.trust_losses(state)
        if not np.isfinite(trust_losses_W).all():
            raise diverged("its loss on the trust split is not finite")
        if "progress" in self.config.evidence:
            self._start_losses_W = yield from self._measuring.trust_losses(start)
        after, average = yield from self._averaged(request, after, self._measuring.trust_loss(trust_losses_W))
        self._become(after, trust_losses_W)
        self._published = blob
        return Trained(
            request=request.request,
            round=request.round,
            update=Content.of(update),
            offer=updates.schema.offer(after.units, updates.blueprint.rank),
            evidence=Content.of(evidence),
            snapshot=self.snapshot(),
            tokens=done.tokens,
            samples=done.samples,
            steps=request.steps,
            train_loss=done.loss,
            trust_loss=self._measuring.trust_loss(trust_losses_W),
            seconds=done.seconds,
            importance=local.importance,
            shares=local.shares,
            contexts=() if local.within.made is None else (local.within.made,),
            context_refused=local.within.refused,
            note=local.within.note,
            average=average,
        )

    def _averaged(
        self, request: Train, after: LearnerState, trust_loss: float
    ) -> Task[tuple[LearnerState, Averaged | None]]:
        """`after` with the average that is kept of such states, and the average where it is measured: not below
        `request.average_from`, and not where the present state is all that is in it. An adapter of two parts is more
        than its tensors, and has no average."""
        if request.average_from is None or MIXINGS[self.config.mixing].beside:
            return without_average(after), None
        if request.steps:
            after = with_iterate(after)
        if after.averaged < 2 or trust_loss < request.average_from:
            return after, None
        losses_W = yield from self._measuring.trust_losses(after.average)
        if not np.isfinite(losses_W).all():
            return without_average(after), None
        snapshot = saved(at_average(after), self.config, self._fingerprints)
        return after, Averaged(snapshot=snapshot, trust_loss=self._measuring.trust_loss(losses_W))

    # -- neighbours ---------------------------------------------------------------------------------

    def _weigh(self, request: Weigh) -> Task[Weighed | Declined]:
        distances: list[Distance] = []
        try:
            update = self._neighbours.decoded(request.update)
            blob = None if request.evidence is None else self._measuring.decoded(request.evidence.data)
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

    def _mine(self) -> Task[OwnEvidence]:
        if self._published is None:
            # After a restart the published predictions are gone; those of the resumed adapter stand in for them.
            composed = self._composition
            alone = composed.alone(composed.published(self.state))
            self._published, _ = yield from self._measuring.predicted(alone)
        if self._start_losses_W is None and "progress" in self.config.evidence:
            self._start_losses_W = yield from self._measuring.trust_losses(self._now.start)
        few = self._measuring.weighing(self.round)
        weights_W = self._measuring.weights_at(few)
        start_W = self._start_losses_W
        return OwnEvidence(
            blueprint=self._updates.blueprint,
            state=self._composition.published(self.state),
            start=self._composition.published(self._now.start),
            blob=self._published,
            trust_WT=self._measuring.trust_WT[few],
            trust_losses_W=(yield from self._own_trust_losses())[few],
            weights_W=weights_W,
            start_loss=None if start_W is None else mean_loss(start_W[few], weights_W),
            draw=(self.config.training.seed, self.round),
            draws=PUBLISHED_BATCHES * self.config.training.windows_of(self.config.data.window_tokens),
            alone=self._composition.alone,
        )

    def _confirm(self, request: Confirm) -> Task[Confirmed]:
        own_W = yield from self._own_trust_losses()
        return (
            yield from confirmed(
                request,
                mine=(yield from self._mine()),
                target=self._composition.target(self._now),
                own_loss=self._measuring.trust_loss(own_W),
                neighbours=self._neighbours,
                measuring=self._measuring,
                shared=self.shared,
            )
        )

    def _evaluate(self, request: Evaluate) -> Task[Evaluated]:
        return (
            yield from evaluated(
                request,
                own_W=(yield from self._own_trust_losses()),
                target=self._composition.target(self._now),
                neighbours=self._neighbours,
                measuring=self._measuring,
                round_=self.round,
            )
        )

    def _fit(self, request: Fit) -> Task[Fitted]:
        origin, moves = self._neighbours.moves(request.updates, self._composition.target(self._now))
        row_K, losses = yield from learned_row(
            request.row,
            moves,
            self._measuring.trust_WT[self._measuring.halves(self.round).proposing_P],
            origin=origin,
            steps=request.steps,
            rate=request.rate,
            reduction=self.config.training.reduction,
        )
        return Fitted(request=request.request, row=tuple(row_K.tolist()), losses=tuple(losses))

    def _merge(self, request: Merge) -> Task[Merged | Failed]:
        began, now = time.perf_counter(), self._now
        tried = self._neighbours.merged(request.row, request.updates, self._composition.target(now))
        if tried is None:
            return (yield from self._move(request.request, began, now, self._trust_losses_W))
        to, losses_W = self._composition.after(now, tried.mixed.state), tried.trust_losses_W
        other = yield from self._training.refined(
            now, request.row, lambda: self._neighbours.moves(request.updates, self._composition.target(now))
        )
        if other is not None:
            losses_W, other_W = yield from losses_of(
                (to.state, other.state), self._measuring.trust_WT, "trust"
            )
            if self._measuring.trust_loss(other_W) < self._measuring.trust_loss(losses_W):
                to, losses_W = other, other_W
        discarded = 0.0 if to is other else tried.mixed.discarded
        return (yield from self._move(request.request, began, to, losses_W, discarded=discarded))

    def _absorb(self, request: Absorb) -> Task[Merged | Failed]:
        began, now = time.perf_counter(), self._now
        if now.pushed is None:
            raise ValueError("Absorb is for mixing by push-sum")
        pushed, refused = now.pushed.absorbed(request.shares)
        state = pushed.estimate(now.state, self._blueprint.trained)
        to = replace(now, state=state, pushed=pushed)
        reply = yield from self._move(request.request, began, to, None)
        return msgspec.structs.replace(reply, refused=refused) if isinstance(reply, Merged) else reply

    def _restore(self, request: Restore) -> Task[Merged | Failed]:
        if self._now.pushed is not None:
            raise ValueError(
                "Restore is not for mixing by push-sum: mass that was handed out cannot be taken back"
            )
        began, before = time.perf_counter(), self._now
        configured = self._composition.blueprint
        test_alone = yield from self._measuring.test_loss(self.state)
        # Before it is measured, because pruning may have lowered the rank since, and the fleet is that of the rank.
        restored = resumed(request.snapshot, configured, self._fingerprints)
        self._become(replace(without_average(restored), round=self.round))
        try:
            test_loss = yield from self._measuring.test_loss(self.state)
            trust_losses_W = yield from self._own_trust_losses()
        except Exception:
            self._become(before)
            raise
        self._published = self._start_losses_W = None
        self._neighbours.forget()
        return self._moved(request.request, began, trust_losses_W, test_alone, test_loss)

    def _move(
        self,
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
        test_alone = test_merged = yield from self._measuring.test_loss(self.state)
        if trust_losses_W is None:
            trust_losses_W = yield from self._measuring.trust_losses(to.state)
        if to is not self._now:
            test_merged = yield from self._measuring.test_loss(to.state)
            if not (np.isfinite(test_merged) and np.isfinite(trust_losses_W).all()):
                # Finite numbers can still be too large to compute with, and no later training would recover.
                self._neighbours.forget()
                why = "refused a merge whose loss is not finite"
                return Failed(request=request, why=why, users_fault=False)
        self._become(to, trust_losses_W)
        self._neighbours.forget()
        return self._moved(request, began, trust_losses_W, test_alone, test_merged, discarded=discarded)

    def _moved(
        self,
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
            snapshot=self.snapshot(),
            trust_loss=self._measuring.trust_loss(trust_losses_W),
            test_alone=test_alone,
            test_merged=test_merged,
            discarded=discarded,
            seconds=time.perf_counter() - began,
        )

    # -- losses -------------------------------------------------------------------------------------

    def test_losses(self) -> Task[F32]:
        """The loss of each test window under the adapter as it is now, `(W,)`. For reports after a run."""
        return (yield from self._measuring.test_losses(self.state))

    def _own_trust_losses(self) -> Task[F32]:
        if self._trust_losses_W is None:
            self._trust_losses_W = yield from self._measuring.trust_losses(self.state)
        return self._trust_losses_W
