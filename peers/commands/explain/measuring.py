"""A peer's learner as it was when a row was made, with the updates that the row weighed, to measure them again.

It measures the same on the same windows as `gossipllm.learning.learner`, but answers no requests: `gossipllm trust
explain` needs what no round asks for, which is all kinds of evidence, some of them impossible, and differences between
rows with their errors.

Axes: W windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from gossipllm.config import Evidence, LearnerConfig
from gossipllm.learning.answering.judging import PUBLISHED_BATCHES
from gossipllm.learning.composition.composition import composition_of
from gossipllm.learning.jobs.jobs import Task
from gossipllm.learning.learner_pool import OPENING_STEPS
from gossipllm.learning.learner_state import resumed
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.merging.averages import mean_loss
from gossipllm.learning.merging.distances.distances import OwnEvidence, measured, own_measures
from gossipllm.learning.merging.learned_row import learned_row
from gossipllm.learning.merging.neighbours import Neighbours
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.learning.shared_model import load_grown_text, load_shared_model
from peers.core.merge_inputs import MergeInput, MergeInputs
from trust.errors import UserMistake
from trust.inspection.explain.proposals import MeasuredCandidates
from trust.progress import Stages
from trust.rows.evidence import Distance
from trust.rows.evidence_kinds import EVIDENCE
from trust.rows.rows import Row, TrustConfig
from wire.errors import WireError
from wire.floats import F32

R = TypeVar("R")


class Reopened:
    """The learner of a finished round. Raises `UserMistake` if the configuration or the text have changed since."""

    def __init__(self, config: LearnerConfig, inputs: MergeInputs, stages: Stages) -> None:
        done = stages.begin("loading", OPENING_STEPS)
        # Alone, as the peer's own learner is: a base in 8 or 4 bits predicts differently from a whole one.
        shared = load_shared_model(config, lambda _phase, _step: done(1), alone=True)
        splits, _ = load_grown_text(config, shared.base, inputs.text)
        done(1)
        configured = shared.blueprint(config.adapter)
        names = shared.fingerprints(UpdateFormat(configured, config.mixing))
        composition = composition_of(config, configured)
        self._config = config
        self._members = inputs.members
        self._composition = composition
        self._now = resumed(inputs.snapshot, composition.blueprint, names)
        self._form = composition.published_form(self._now.blueprint)
        self._target = composition.target(self._now)
        self._neighbours = Neighbours(UpdateFormat(self._form, config.mixing), config)
        self._measuring = Measuring(config, splits, shared.reference)
        self._fleet = shared.fleet(self._now.blueprint.config)
        done(1)
        self._own_losses_W: F32 = self._performed(self._measuring.trust_losses(self._now.state))
        done(OPENING_STEPS - 4)

    @property
    def kinds(self) -> tuple[Evidence, ...]:
        """Evidence that can be measured of a neighbour. The start of the local steps is kept only if it was needed."""
        positions = self._config.reference.positions
        return tuple(
            kind
            for kind, about in EVIDENCE.items()
            if about.positions in (None, positions) and (kind != "progress" or self._keeps_start)
        )

    @property
    def _keeps_start(self) -> bool:
        return self._config.sends_start or "progress" in self._config.evidence

    def distances(self, kinds: Sequence[Evidence], stages: Stages) -> MeasuredCandidates:
        """The distances of all neighbours; a kind by which one of them cannot be measured is in `missing`."""
        distances: dict[str, dict[Evidence, Distance]] = {one.peer: {} for one in self._members}
        missing: dict[Evidence, str] = {}
        done = stages.begin("comparing", max(1, len(kinds) * len(self._members)))
        for kind in kinds:
            for one in self._members:
                try:
                    distances[one.peer][kind] = self._distance(kind, one)
                except WireError as error:
                    missing[kind] = f"cannot be measured: {error.field}: {error.why}"
                done(1)
        own = dict(zip(kinds, own_measures(kinds, self._mine), strict=True))
        return MeasuredCandidates(distances, own, missing)

    def learned(self, row: Row, trust: TrustConfig, stages: Stages) -> Row:
        """The row learned by gradient, beginning at `row`. Raises `UserMistake` for an update that does not fit."""
        done = stages.begin("learning a row", 1)
        updates = [one.update for one in self._members]
        try:
            origin, moves = self._neighbours.moves(updates, self._target)
        except WireError as error:
            raise _unfit(error) from None
        task = learned_row(
            row,
            moves,
            self._measuring.trust_WT[self._measuring.halves(self._now.round).proposing_P],
            origin=origin,
            steps=trust.learned_steps,
            rate=trust.learned_rate,
            reduction=self._config.training.reduction,
        )
        row_K, _ = self._performed(task)
        done(1)
        return tuple(row_K.tolist())

    def losses(self, rows: Sequence[Row], stages: Stages) -> dict[Row, F32]:
        """Losses `(W,)` of the merge by each row. Raises `UserMistake` for an update that does not fit."""
        done = stages.begin("measuring", max(1, len(rows)))
        losses: dict[Row, F32] = {}
        for row in rows:
            try:
                losses[row] = self._losses_W(row)
            except WireError as error:
                raise _unfit(error) from None
            done(1)
        return losses

    def mean(self, losses_W: F32) -> float:
        return self._measuring.trust_loss(losses_W)

    def error(self, losses_W: F32, other_W: F32) -> float:
        """The standard error of the difference of the means."""
        return self._measuring.error_at(losses_W - other_W, np.arange(len(losses_W)))

    def _losses_W(self, row: Row) -> F32:
        updates = [one.update for one in self._members]
        tried = self._neighbours.merged(row, updates, self._target)
        if tried is None:
            return self._own_losses_W
        return self._performed(self._measuring.trust_losses(tried.state))

    def _distance(self, kind: Evidence, one: MergeInput) -> Distance:
        if one.evidence is None and EVIDENCE[kind].positions is not None:
            raise WireError(
                "evidence", "was not fetched, because the strategy in use compares no predictions"
            )
        update = self._neighbours.decoded(one.update)
        blob = None if one.evidence is None else self._measuring.decoded(one.evidence.data)
        return self._performed(measured(kind, self._mine, one.peer, update, blob))

    @cached_property
    def _mine(self) -> OwnEvidence:
        few = self._measuring.weighing(self._now.round)
        weights_W = self._measuring.weights_at(few)
        now, composition, start_loss = self._now, self._composition, None
        if self._keeps_start:
            start_W: F32 = self._performed(self._measuring.trust_losses(now.start))
            start_loss = mean_loss(start_W[few], weights_W)
        state = composition.published(now.state)
        blob, _ = self._performed(self._measuring.predicted(composition.alone(state)))
        return OwnEvidence(
            blueprint=self._form,
            state=state,
            start=composition.published(now.start),
            blob=blob,
            trust_WT=self._measuring.trust_WT[few],
            trust_losses_W=self._own_losses_W[few],
            weights_W=weights_W,
            start_loss=start_loss,
            draw=(self._config.training.seed, now.round),
            draws=PUBLISHED_BATCHES * self._config.training.windows_of(self._config.data.window_tokens),
            alone=composition.alone,
        )

    def _performed(self, task: Task[R]) -> R:
        """Run a task to its end, with no other learner's jobs beside it."""
        result: Any = None
        try:
            while True:
                job = task.throw(result) if isinstance(result, Exception) else task.send(result)
                assert not isinstance(job, tuple), "distances ask for one thing at a time"
                (result,) = self._fleet.perform([job])
        except StopIteration as stop:
            return stop.value


def _unfit(error: WireError) -> UserMistake:
    return UserMistake(f"an update that was kept does not fit any more: {error.field}: {error.why}")
