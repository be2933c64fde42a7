"""Distilling after a merge: toward the predictions of the row's members, and undone unless the trust loss falls.

    merged adapter -> a few steps toward the predictions on the reference set (`passes.distillation`)
                   -> the whole way and parts of it are tried on the trust split
                   -> the best on the windows that propose is taken if it lowers the loss on those that judge
                      (`halves`) by more than the error of that

The weight of distilling is thus the part of the way that is taken, which is measured in each round; 0 undoes the steps.
The windows that judge have judged the merge already: they were not used to choose between its rows, but this is a
second look at them.

Who teaches stands in `lessons.py`.

**Cost.** Tokens through the model count once forward and twice backward. The steps, the measurement of their effect and
the trials together take at most `LearnerConfig.distil_share` of what the round's local steps took. Where that does not
pay for one step, there is none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gossipllm.config import LearnerConfig, TrainingConfig
from gossipllm.learning.composition.composition import Composition
from gossipllm.learning.distilling.lessons import Teachers, of_own
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import DistilJob, Task, distilled_by, losses_of
from gossipllm.learning.jobs.teachers import Teacher
from gossipllm.learning.learner_state import LearnerState, stretch_of
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.measuring.own_text import OwnText
from gossipllm.learning.measuring.parts_of_way import SHARES, part_of_way
from gossipllm.learning.merging.distances.distances import Blob
from gossipllm.learning.merging.neighbours import Neighbours
from gossipllm.text.reference import ReferenceSet
from gossipllm.work import Merge
from trust.record.history import Distilled
from wire.floats import F32

ERRORS: Final = 1.0
"""Standard errors by which a part must lower the trust loss. As a neighbour by itself (`DefenceConfig.errors`): where
there are few trust windows, the same ones choose the part and judge it. Guess."""
_FORWARD: Final = 1
_STEP: Final = 3
"""Cost of a token in a pass forward, and in one forward and backward."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The state after distilling with its trust losses: those that it began with where the steps were undone."""

    after: LearnerState
    trust_losses_W: F32
    record: Distilled


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The steps that a share of the cost of local steps pays for, each on so many windows of the reference set."""

    steps: int
    windows: int

    @staticmethod
    def of(
        share: float,
        *,
        local_tokens: int,
        batch_tokens: int,
        trust_tokens: int,
        shape: tuple[int, int],
        passes: int = _STEP,
    ) -> Budget:
        """`shape` is that of the reference set, in windows and tokens. A step reads at most `batch_tokens`, as a local
        one does, so that it takes no more memory; fewer where the budget pays only for a smaller one. A token of it
        costs as much as so many `passes` forward."""
        count, length = shape
        left = share * local_tokens * _STEP - len(SHARES) * trust_tokens * _FORWARD
        affordable = int(left // (length * (passes + _FORWARD)))
        windows = min(count, max(1, batch_tokens // length), affordable)
        if windows < 1:
            return Budget(steps=0, windows=0)
        measured = windows * length * _FORWARD
        return Budget(steps=int((left - measured) // (windows * length * passes)), windows=windows)


class Distilling:
    """Distilling of one learner."""

    def __init__(
        self,
        config: LearnerConfig,
        composition: Composition,
        measuring: Measuring,
        own_text: OwnText,
        reference: ReferenceSet,
        teachers: Teachers,
        *,
        train_windows: int,
    ) -> None:
        self._config = config
        self._composition = composition
        self._measuring = measuring
        self._own_text = own_text
        self._reference = reference
        self._teachers = teachers
        batch = min(config.training.windows_of(config.data.window_tokens), train_windows)
        self._batch_tokens = batch * config.data.window_tokens

    def after_merge(
        self,
        request: Merge,
        merged: LearnerState,
        trust_losses_W: F32 | None,
        *,
        moved: bool,
        neighbours: Neighbours,
        own_predictions: Callable[[], Task[Blob]],
    ) -> Task[Outcome | None]:
        """Distil into `merged`, which is not changed; None where nothing is configured, affordable or taught.

        `trust_losses_W` are those of `merged` where they are known; `moved` says whether the merge changed anything.
        """
        budget = self.budget(request.local_steps)
        if not self._config.also or not budget.steps:
            return None
        teachers: tuple[Teacher, ...]
        match self._config.also:
            case "distil" | "distil-text":
                anatomy = merged.blueprint.anatomy
                teachers = self._teachers.of(request.lessons, neighbours, anatomy)
                if self._config.also == "distil-text":
                    teachers = self._teachers.with_text(teachers)
            case "self-distil":
                teachers = of_own((yield from own_predictions())) if moved else ()
            case "reference-text":
                teachers = self._teachers.of_text()
        if not teachers:
            return None
        if trust_losses_W is None:
            trust_losses_W = yield from self._measuring.trust_losses(merged.state)
        if not np.isfinite(trust_losses_W).all():
            return None
        return (yield from self._perform(teachers, budget, merged, trust_losses_W))

    def budget(self, local_steps: int) -> Budget:
        reference_WT = self._reference.windows_WT
        return Budget.of(
            self._config.distil_share,
            local_tokens=local_steps * self._batch_tokens,
            batch_tokens=self._batch_tokens,
            trust_tokens=self._measuring.trust_WT.size,
            shape=(reference_WT.shape[0], reference_WT.shape[1]),
            # The changes of a teacher are added to what the base predicts, which is a pass forward more.
            passes=_STEP + _FORWARD * (self._config.distil_toward == "changes"),
        )

    def _perform(
        self, teachers: tuple[Teacher, ...], budget: Budget, merged: LearnerState, trust_losses_W: F32
    ) -> Task[Outcome]:
        began, blueprint, units = time.perf_counter(), merged.blueprint, merged.units
        windows_WT, config = self._reference.windows_WT, self._steps_config(budget)
        done = yield from distilled_by(
            DistilJob(
                merged.state,
                merged.moments.of(blueprint.schema.offer(units, blueprint.rank).units),
                teachers,
                windows_WT,
                batches(len(windows_WT), config, round_number=merged.round, steps=budget.steps),
                config,
                tensors=() if units == blueprint.own else blueprint.tensors_of(units),
                masks=self._composition.masks(merged, units),
                stretch=stretch_of(self._composition.published_form(blueprint)),
                symbols_V=self._teachers.symbols(teachers),
            )
        )
        state, losses_W = merged.state, trust_losses_W
        share = gain = error = 0.0
        if done.taught:
            tried = tuple(part_of_way(merged.state, done.state, part) for part in SHARES)
            losses = yield from losses_of(tried, self._measuring.trust_WT, "trust")
            best = self._best(losses, trust_losses_W, merged)
            if best is not None:
                index, gain, error = best
                if gain > ERRORS * error:
                    state, losses_W, share = tried[index], losses[index], SHARES[index]
        record = Distilled(
            steps=budget.steps,
            rows=done.rows,
            taught=done.taught,
            kl_before=done.kl_before,
            kl_after=done.kl_after if math.isfinite(done.kl_after) else 0.0,
            share=share,
            gain=gain,
            error=error,
            seconds=time.perf_counter() - began,
        )
        after = merged if share == 0 else replace(merged, state=state)
        return Outcome(after, losses_W, record)

    def _steps_config(self, budget: Budget) -> TrainingConfig:
        training = self._config.training
        return replace(training, batch_windows=max(1, budget.windows), batch_tokens=0)

    def _best(
        self, losses: Sequence[F32], before_W: F32, merged: LearnerState
    ) -> tuple[int, float, float] | None:
        """The part of least loss on the windows that propose, with its gain on those that judge and the error of that;
        None where each has a loss that is not finite, or costs the own text too much. A part that is no better where it
        is proposed has a gain of 0 at most."""
        measuring, halves = self._measuring, self._measuring.halves(merged.round)
        allowed = [
            index
            for index, losses_W in enumerate(losses)
            if np.isfinite(losses_W).all() and self._own_text.spares(merged, before_W, losses_W)
        ]
        if not allowed:
            return None
        proposed = {index: measuring.loss_at(losses[index], halves.proposing_P) for index in allowed}
        best = min(allowed, key=lambda index: proposed[index])
        judging = halves.judging_J
        gain = measuring.loss_at(before_W, judging) - measuring.loss_at(losses[best], judging)
        if not proposed[best] < measuring.loss_at(before_W, halves.proposing_P):
            gain = min(gain, 0.0)
        return best, gain, measuring.error_at(losses[best] - before_W, judging)
