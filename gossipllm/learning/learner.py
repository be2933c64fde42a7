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

What is kept between requests stands in `answering/memory.py`, and answers that are more than a call beside it.

Every answer is a `Task`: where it needs the model it yields a job. `learner_pool.py` performs the jobs, alone or
together with those of other learners. Only `Train`, `Merge`, `Absorb` and `Restore` change the adapter; what fails
leaves it as it was.

Axes: W windows.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from gossipllm.config import LearnerConfig
from gossipllm.exhaustion import is_exhaustion
from gossipllm.learning.answering.judging import evaluated_rows, fitted, weighed, whether_helpful
from gossipllm.learning.answering.local_round import trained
from gossipllm.learning.answering.memory import LearnerMemory
from gossipllm.learning.answering.merges import absorbed, merged, restored
from gossipllm.learning.answering.opening import opened
from gossipllm.learning.jobs.jobs import Job, LastLogitsJob, PredictJob, Task
from gossipllm.learning.learner_state import Diverged, resumed
from gossipllm.learning.passes.block_window import block_window_count
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.learning.shared_model import SharedModel
from gossipllm.learning.training.training import OnProgress
from gossipllm.learning.training.warm_start import started_warm
from gossipllm.model.adapter.names import State
from gossipllm.model.loading.models import spoiled_weight
from gossipllm.text.public_text import with_public_text
from gossipllm.text.windows import Splits
from gossipllm.work import (
    Absorb,
    Answer,
    Confirm,
    Evaluate,
    Fit,
    Merge,
    Open,
    Opened,
    Request,
    Restore,
    Train,
    Weigh,
)
from trust.errors import UserMistake
from wire.digest import Content
from wire.floats import F32


class Learner:
    """One peer's adapter and text, and the answers to its core's requests. The first request must be `Open`."""

    def __init__(
        self, config: LearnerConfig, shared: SharedModel, splits: Splits, ledger: Content | None = None
    ) -> None:
        """`ledger` is that of a text on disk (`gossipllm.text.growth`). Raises `UserMistake` where the configuration
        names modules or blocks that the base does not have, or public text that there is not."""
        splits = with_public_text(
            splits,
            config.data,
            config.reference,
            read=shared.reference.texts,
            tokenizer=shared.base.tokenizer,
        )
        self._ledger = ledger
        self.config = config
        self.shared = shared
        self._memory = LearnerMemory(config, shared, splits)
        self._blocks_at_once = block_window_count(config, shared.base, self._memory.updates.blueprint)
        self._splits = splits

    @property
    def fleet(self) -> Fleet:
        """The fleet that performs this learner's jobs. It changes with the adapter's rank, which pruning lowers."""
        return self.shared.fleet(self._memory.blueprint.config)

    def fleet_for(self, job: Job) -> Fleet:
        """The fleet that performs this job: another one for adapters of another peer's form."""
        other = job.adapter if isinstance(job, PredictJob | LastLogitsJob) else None
        return self.fleet if other is None else self.shared.fleet(other)

    @property
    def round(self) -> int:
        return self._memory.round

    @property
    def state(self) -> State:
        """The adapter as it is now. Callers must not write to it."""
        return self._memory.state

    def snapshot(self) -> Content:
        """Everything that resuming needs. Equal states give equal bytes."""
        return self._memory.snapshot()

    def test_losses(self) -> Task[F32]:
        """The loss of each test window under the adapter as it is now, `(W,)`. For reports after a run."""
        return (yield from self._memory.measuring.test_losses(self.state))

    def trial_step(self) -> Task[float]:
        """Take a local step whose result is thrown away, and return its seconds."""
        request = Train(request=0, round=self.round, steps=1)
        local = yield from self._memory.training.perform(request, self._memory.now, lambda _: None)
        return local.done.seconds

    def answer(self, request: Request, on_progress: OnProgress) -> Task[Answer]:
        """Raises `UserMistake` for an error that the user can mend, and passes on what jobs raise."""
        try:
            return (yield from self._answered(request, on_progress))
        except Diverged:
            self._blame_base()
            raise

    def _answered(self, request: Request, on_progress: OnProgress) -> Task[Answer]:
        memory = self._memory
        task: Task[Answer]
        match request:
            case Open():
                task = self._open(request)
            case Train():
                task = trained(memory, request, on_progress)
            case Weigh():
                task = weighed(memory, request)
            case Confirm():
                task = whether_helpful(memory, request)
            case Evaluate():
                task = evaluated_rows(memory, request)
            case Fit():
                task = fitted(memory, request)
            case Merge():
                task = merged(memory, request)
            case Absorb():
                task = absorbed(memory, request)
            case Restore():
                task = restored(memory, request)
            case _:
                assert_never(request)
        return (yield from task)

    def _open(self, request: Open) -> Task[Opened]:
        memory = self._memory
        if request.snapshot is not None:
            memory.become(resumed(request.snapshot, memory.composition.blueprint, memory.fingerprints))
            memory.forget_measured()
        elif (warm := started_warm(self.config, memory.updates.blueprint)) is not None:
            memory.become(memory.composition.fresh(warm.state))
        test_loss = yield from self._first_loss()
        if not np.isfinite(test_loss):
            self._blame_base()
        return opened(
            request.request,
            config=self.config,
            shared=self.shared,
            updates=memory.updates,
            window=self._blocks_at_once,
            pushes=memory.now.pushed is not None,
            round_number=self.round,
            splits=(self._splits.train_WT, memory.measuring.trust_WT, memory.measuring.test_WT),
            test_loss=test_loss,
            ledger=self._ledger,
        )

    def _first_loss(self) -> Task[float]:
        """The test loss, which is the first that the model computes. Raises `UserMistake` where its own code fails."""
        try:
            return (yield from self._memory.measuring.test_loss(self.state))
        except UserMistake:
            raise
        except Exception as error:
            if is_exhaustion(error):
                raise
            base = self.shared.base
            why = " ".join(str(error).split())[:160] or type(error).__name__
            raise UserMistake(
                f"model.name: {type(base.model).__name__} does not compute windows of {self.config.data.window_tokens} "
                f"tokens in {str(base.dtype).removeprefix('torch.')} ({why}); take another model.dtype or model"
            ) from error

    def _blame_base(self) -> None:
        """Raises `UserMistake` where a weight of the base is what spoils every loss."""
        if (name := spoiled_weight(self.shared.base.model)) is not None:
            raise UserMistake(
                f"model.name: {self.config.model.name} is damaged: its weight {name} holds numbers that are not finite"
            ) from None
