"""Jobs: what a learner needs the model for, as values. The fleet performs them, many at a time.

A learner's answer to a request is a generator (`Task`) that yields a job where it needs the model and is sent the
result. On a device one learner runs through alone. The learners of a simulation run side by side, and jobs that they
yield at the same moment go through the base together (`learner_pool.py`).

Windows may hold tokens that bear no loss (`gossipllm.text.windows.Windows`); all means are over those that do.

Axes: W windows, T positions; S steps, B windows of a batch; L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import AdapterConfig, TrainingConfig
from gossipllm.learning.jobs.kept import Kept
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.jobs.next_bytes import BytePredictions
from gossipllm.learning.jobs.teachers import Teacher
from gossipllm.model.adapter.names import State
from gossipllm.model.contexts.config import BlockWindow
from gossipllm.text.windows import Windows
from trust.rows.config import Reduction
from wire.floats import F32
from wire.predictions.logits import LogitRows, RowsShape, SparseRows

if TYPE_CHECKING:
    # `merging` yields jobs and must not load torch, which transformers brings along.
    from transformers import PreTrainedModel

Purpose: TypeAlias = Literal["train", "trust", "evidence", "test", "row", "probe", "distil"]
"""What a pass through the model is for: "train", local steps; "trust", losses that decide; "evidence", predictions;
"test", losses that are only reported; "row", learning a trust row; "probe", the importance of layers; "distil", steps
toward others' predictions."""

OnStep: TypeAlias = Callable[[int, float, float], None]
"""`(step, loss, tokens_per_s)`, called every few tenths of a second and after the last step."""


@dataclass(frozen=True, slots=True, eq=False)
class ContextModel:
    """A model that stands in for the base while a part of an adapter is trained. Its modules have the base's names."""

    model: PreTrainedModel
    kept: frozenset[int] | None = None
    """The layers at which the adapter is mounted besides those that are trained; None for all of the model."""
    checkpointed: BlockWindow | None = None
    """From the first block of this block window on, only the inputs of blocks are kept for the backward pass, and the
    rest is computed again; None keeps all activations."""


@dataclass(frozen=True, slots=True, eq=False)
class LossJob:
    """Measure the mean loss of each window under each of the adapters: a list of `(W,)`, in nats per token."""

    states: tuple[State, ...]
    windows_WT: Windows
    purpose: Purpose


@dataclass(frozen=True, slots=True, eq=False)
class PredictJob:
    """Predict: the most probable next tokens at every position of each window but the last, as `SparseRows`."""

    state: State
    windows_WT: Windows
    shape: RowsShape
    adapter: AdapterConfig | None = None
    """The form of another peer's adapter; None for the learner's own."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictBytesJob:
    """Predict: the most probable symbols with which the next token begins, as `passes.predicting.byte_predictions` has
    them, at the same positions as `PredictJob`."""

    state: State
    windows_WT: Windows
    symbols_V: NDArray[np.int64]
    """The symbol of each token (`gossipllm.text.vocabulary.first_symbols`)."""
    top: int


@dataclass(frozen=True, slots=True, eq=False)
class LastLogitsJob:
    """Predict: the largest raw logits at the last position of each window, as `LogitRows`."""

    state: State
    windows_WT: Windows
    shape: RowsShape
    adapter: AdapterConfig | None = None
    """As in `PredictJob`."""


@dataclass(frozen=True, slots=True, eq=False)
class StepsJob:
    """Take optimiser steps, one for each row of `batches_SB`, which holds indices of windows: `StepsDone`.

    Only the adapter's `tensors` are trained, all where none is named, and of these only the entries at which `masks`
    has 1. Passes go through `context_model`, or through the base where that is None.
    """

    state: State
    moments: Moments
    windows_WT: Windows
    batches_SB: NDArray[np.int64]
    config: TrainingConfig
    on_step: OnStep
    tensors: tuple[str, ...] = ()
    masks: Mapping[str, F32] | None = None
    context_model: ContextModel | None = None
    measure: bool = False
    """Whether to measure the importance of each trained layer."""
    dropout: float = 0.0
    """Share of the inputs of A that steps leave out (`AdapterConfig.dropout`)."""
    stretch: float = 1.0
    """How much larger the factor that starts at zero is in `state` than where steps are taken: with rsLoRA the square
    root of the rank (`AdapterConfig.scaling`). The moments are of the latter."""
    round: int = 0
    """What dropout is drawn by, besides the configuration's seed and the step."""
    keeps: Kept | None = None
    """What is kept of an earlier adapter. A job with it goes through the model by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class StepsDone:
    """The adapter after its steps. `tokens` bear loss; `loss` is the mean over the steps, in nats.

    `importance` has a number for each layer that was trained and None for the others; it is empty where the job did
    not ask for it.
    """

    state: dict[str, F32]
    moments: Moments
    samples: int
    tokens: int
    loss: float
    seconds: float
    importance: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class DistilJob:
    """Take optimiser steps toward the predictions of `teachers`, one for each row of `batches_SB`: `DistilDone`.

    `moments` are those of the local steps, which steps read and do not change. `tensors`, `masks` and `stretch` are as
    in `StepsJob`, `symbols_V` as in `PredictBytesJob`: for teachers of byte rows.
    """

    state: State
    moments: Moments
    teachers: tuple[Teacher, ...]
    windows_WT: Windows
    batches_SB: NDArray[np.int64]
    config: TrainingConfig
    tensors: tuple[str, ...] = ()
    masks: Mapping[str, F32] | None = None
    stretch: float = 1.0
    symbols_V: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DistilDone:
    """The adapter after its steps, which is `state` itself where no row had a target. The other fields are as in
    `trust.record.history.Distilled`."""

    state: State
    rows: int
    taught: int
    kl_before: float
    kl_after: float


@dataclass(frozen=True, slots=True, eq=False)
class SlopeJob:
    """Measure the mean loss over all windows and its gradient with respect to the adapter: `SlopeDone`."""

    state: State
    windows_WT: Windows
    reduction: Reduction = "tokens"


@dataclass(frozen=True, slots=True, eq=False)
class SlopeDone:
    loss: float
    gradient: State


@dataclass(frozen=True, slots=True, eq=False)
class ProbeJob:
    """Measure the importance of every layer for the loss on these windows: `(L,)`."""

    state: State
    windows_BT: Windows
    reduction: Reduction = "tokens"


Job: TypeAlias = (
    LossJob | PredictJob | PredictBytesJob | LastLogitsJob | StepsJob | DistilJob | SlopeJob | ProbeJob
)
R = TypeVar("R")
Task: TypeAlias = Generator[Job | tuple[Job, ...], Any, R]
"""A generator that is sent the result of each job it yields, or of a tuple of jobs the list of their results; where a
job failed, the exception is thrown in."""


def side_by_side(jobs: Sequence[Job]) -> Task[list[Any]]:
    """The results of several jobs, those of one kind in one pass."""
    return (yield tuple(jobs)) if jobs else []


def losses_of(states: tuple[State, ...], windows_WT: Windows, purpose: Purpose) -> Task[list[F32]]:
    return (yield LossJob(states, windows_WT, purpose))


def predictions_of(state: State, windows_WT: Windows, shape: RowsShape) -> Task[SparseRows]:
    return (yield PredictJob(state, windows_WT, shape))


def byte_predictions_of(
    state: State, windows_WT: Windows, symbols_V: NDArray[np.int64], top: int
) -> Task[BytePredictions]:
    return (yield PredictBytesJob(state, windows_WT, symbols_V, top))


def last_logits_of(state: State, windows_WT: Windows, shape: RowsShape) -> Task[LogitRows]:
    return (yield LastLogitsJob(state, windows_WT, shape))


def stepped(job: StepsJob) -> Task[StepsDone]:
    return (yield job)


def distilled_by(job: DistilJob) -> Task[DistilDone]:
    return (yield job)


def slope_of(state: State, windows_WT: Windows, reduction: Reduction = "tokens") -> Task[SlopeDone]:
    return (yield SlopeJob(state, windows_WT, reduction))


def probed(job: ProbeJob) -> Task[tuple[float, ...]]:
    return (yield job)
