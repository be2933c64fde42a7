"""What a learner needs a model for, as values: the fleet performs them, many at a time.

A learner's answer is a generator (`Task`) that yields a job where it needs one and is sent the result. One
learner on a device runs through alone; the learners of a simulation run side by side, and what they need at
the same moment goes through the base together (`crew.py`).

Windows may hold tokens that bear no loss (`gossipllm.text.windows.Windows`); all means are over those that do.

Axes: W windows, T positions; S steps, B windows of a batch; L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import TrainingConfig
from gossipllm.learning.moments import Moments
from gossipllm.model.adapter.names import State
from gossipllm.model.contexts.config import BlockWindow
from gossipllm.text.windows import Windows
from trust.rows.config import Reduction
from wire.floats import F32
from wire.logits import LogitRows, RowsShape, SparseRows

if TYPE_CHECKING:
    # `merging` yields jobs and must not load torch, which transformers brings along.
    from transformers import PreTrainedModel

Purpose: TypeAlias = Literal["train", "trust", "evidence", "test", "row", "probe"]
"""What a pass through the model is for: local steps; losses that decide; predictions; losses that are only
reported; learning a row; how much each layer matters."""

OnStep: TypeAlias = Callable[[int, float, float], None]
"""`(step, loss, tokens_per_s)`, called every now and then and after the last step."""


@dataclass(frozen=True, slots=True, eq=False)
class ContextModel:
    """What passes go through while a part of an adapter is trained: a model of the base's names."""

    model: PreTrainedModel
    kept: frozenset[int] | None = None
    """The layers at which the adapter takes part besides where it is trained; None: all that the model has."""
    checkpointed: BlockWindow | None = None
    """The window from which on only blocks' inputs are kept for the backward pass."""


@dataclass(frozen=True, slots=True, eq=False)
class LossJob:
    """The mean loss of each window, `(W,)` nats per token, under each of the adapters: a list of them."""

    states: tuple[State, ...]
    windows_WT: Windows
    purpose: Purpose


@dataclass(frozen=True, slots=True, eq=False)
class PredictJob:
    """The most probable next tokens at every position but the last of each window: `SparseRows`."""

    state: State
    windows_WT: Windows
    shape: RowsShape


@dataclass(frozen=True, slots=True, eq=False)
class LastLogitsJob:
    """The largest raw logits at the last position of each window: `LogitRows`."""

    state: State
    windows_WT: Windows
    shape: RowsShape


@dataclass(frozen=True, slots=True, eq=False)
class StepsJob:
    """Optimiser steps, one for each row of `batches`, which holds indices of windows: `StepsDone`.

    Of the adapter `tensors` are trained, where it names any, and of these what `masks` has 1 at; all else stays as
    it is. `surroundings` are what it is trained within, None for the base.
    """

    state: State
    moments: Moments
    windows_WT: Windows
    batches_SB: NDArray[np.int64]
    config: TrainingConfig
    on_step: OnStep
    tensors: tuple[str, ...] = ()
    masks: Mapping[str, F32] | None = None
    surroundings: ContextModel | None = None
    measure: bool = False
    """Whether to say how much each trained layer matters."""
    dropout: float = 0.0
    """Share of the inputs of A that steps leave out (`AdapterConfig.dropout`)."""
    round: int = 0
    """What dropout is drawn by, besides the configuration's seed and the step."""


@dataclass(frozen=True, slots=True, eq=False)
class StepsDone:
    """The adapter after its steps. `tokens` bear loss; `loss` is the mean over the steps, in nats.

    `importance` has a number for each layer that was trained and None for the others, where it was asked for.
    """

    state: dict[str, F32]
    moments: Moments
    samples: int
    tokens: int
    loss: float
    seconds: float
    importance: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SlopeJob:
    """The mean loss over all windows and its gradient with respect to the adapter: `SlopeDone`."""

    state: State
    windows_WT: Windows
    reduction: Reduction = "tokens"


@dataclass(frozen=True, slots=True, eq=False)
class SlopeDone:
    loss: float
    gradient: State


@dataclass(frozen=True, slots=True, eq=False)
class ProbeJob:
    """How much each layer of the adapter matters for the loss on these windows, block by block: `(L,)`."""

    state: State
    windows_BT: Windows
    reduction: Reduction = "tokens"


Job: TypeAlias = LossJob | PredictJob | LastLogitsJob | StepsJob | SlopeJob | ProbeJob
R = TypeVar("R")
Task: TypeAlias = Generator[Job, Any, R]
"""What is sent in is the result of the job that was yielded; a job that failed is thrown in."""


def losses_of(states: tuple[State, ...], windows_WT: Windows, purpose: Purpose) -> Task[list[F32]]:
    return (yield LossJob(states, windows_WT, purpose))


def predictions_of(state: State, windows_WT: Windows, shape: RowsShape) -> Task[SparseRows]:
    return (yield PredictJob(state, windows_WT, shape))


def last_logits_of(state: State, windows_WT: Windows, shape: RowsShape) -> Task[LogitRows]:
    return (yield LastLogitsJob(state, windows_WT, shape))


def stepped(job: StepsJob) -> Task[StepsDone]:
    return (yield job)


def slope_of(state: State, windows_WT: Windows, reduction: Reduction = "tokens") -> Task[SlopeDone]:
    return (yield SlopeJob(state, windows_WT, reduction))


def probed(job: ProbeJob) -> Task[tuple[float, ...]]:
    return (yield job)
