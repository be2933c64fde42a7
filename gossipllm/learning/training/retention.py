"""Continual learning: what a learner forgets of the reference set, and what its local steps keep of earlier adapters.

**Forgetting** (as of Chaudhry et al., arXiv 1801.10112, with the reference set's windows as tasks): for each window the
loss at the end of the round less the least that this learner had at the end of any round so far, this one included;
the mean over windows, in nats per token. It is 0 where every window is at its best, and says nothing of how good that
is. The adapter that the process began with counts as a round. What was measured is not kept on disk: a peer that is
started again measures from the adapter that it resumes.

**Keeping** (`TrainingConfig.retain`). "predictions" pulls local steps toward what this learner predicted of each window
when its loss there was least; "subspace" keeps them off the span of the adapter that the process began with, where that
had learned something (`passes.retention`).

Axes: W windows of the reference set.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import Task, losses_of
from gossipllm.learning.jobs.kept import Kept, KeptPredictions, KeptSpan
from gossipllm.learning.jobs.teachers import Teacher
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.model.adapter.names import B, State
from gossipllm.text.reference import ReferenceSet
from gossipllm.text.windows import rows_of
from wire.floats import F32
from wire.predictions.logits import SparseRows

SHARE: Final = 0.25
"""Tokens of the reference set in a step that keeps predictions, over those of its own text. Guess."""


class Retention:
    """What one learner had learned."""

    def __init__(self, config: LearnerConfig, measuring: Measuring, reference: ReferenceSet) -> None:
        self._config = config
        self._measuring = measuring
        self._reference = reference
        self._least_W: F32 | None = None
        self._rows: SparseRows | None = None
        self._first: State | None = None

    def began(self, state: State) -> Task[None]:
        """Before local steps from `state`: the first such state of a process is one to keep."""
        if self._config.training.retain and self._least_W is None:
            self._first = state
            yield from self.forgotten(state)

    def forgotten(self, state: State) -> Task[float | None]:
        """The forgetting of an adapter at the end of a round; None where the configuration does not ask for it."""
        if not self._config.training.retain:
            return None
        (losses_W,) = yield from losses_of((state,), self._reference.windows_WT, "evidence")
        if not np.isfinite(losses_W).all():
            return None
        least_W = losses_W if self._least_W is None else np.minimum(self._least_W, losses_W)
        if self._config.training.retain == "predictions":
            yield from self._remember(state, losses_W <= least_W)
        self._least_W = least_W
        return float((losses_W - least_W).mean())

    def of_steps(self, round_number: int, steps: int) -> Kept | None:
        """What so many steps of a round are to keep."""
        training = self._config.training
        if training.retain == "subspace" and self._first is not None and _has_learned(self._first):
            return KeptSpan(self._first, training.retain_strength)
        if self._rows is None:
            return None
        windows_WT, length = self._reference.windows_WT, self._config.data.window_tokens
        own = training.windows_of(length) * length
        size = max(1, int(SHARE * own // windows_WT.shape[1]))
        config = replace(training, batch_windows=size, batch_tokens=0)
        read_SB = batches(len(windows_WT), config, round_number=round_number, steps=steps)
        return KeptPredictions(Teacher(1.0, self._rows), windows_WT, read_SB, training.retain_strength)

    def _remember(self, state: State, better_W: NDArray[np.bool_]) -> Task[None]:
        """Keep what `state` predicts of these windows."""
        if not better_W.any():
            return
        blob, _ = yield from self._measuring.predicted(state)
        assert isinstance(blob, SparseRows), "the reference set is of log-probabilities"
        if self._rows is None:
            self._rows = blob
            return
        rows = rows_of(self._reference.windows_WT, np.flatnonzero(better_W))
        kept = SparseRows(self._rows.ids_RK.copy(), self._rows.logp_RK.copy(), self._rows.tail_R.copy())
        kept.ids_RK[rows], kept.logp_RK[rows], kept.tail_R[rows] = (
            blob.ids_RK[rows],
            blob.logp_RK[rows],
            blob.tail_R[rows],
        )
        self._rows = kept


def _has_learned(state: State) -> bool:
    """A fresh adapter has a factor of zeros in every product."""
    return any(value.any() for name, value in state.items() if name.endswith(B))
