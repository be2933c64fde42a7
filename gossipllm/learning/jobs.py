"""What a learner needs a model for, as values: the fleet performs them, many at a time.

A learner's answer is a generator (`Task`) that yields a job where it needs one and is sent the result. One
learner on a device runs through alone; the learners of a simulation run side by side, and what they need at
the same moment goes through the base together (`crew.py`).

Axes: W windows, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import TrainingConfig
from gossipllm.learning.optimiser import Moments
from gossipllm.model.names import State
from gossipllm.text.data import Windows
from wire.floats import F32
from wire.logits import LogitRows, RowsShape, SparseRows

Purpose: TypeAlias = Literal["train", "trust", "evidence", "test", "row"]
"""What a pass through the model is for: local steps; losses that decide; predictions; losses that are only
reported; learning a row."""

OnStep: TypeAlias = Callable[[int, float, float], None]
"""`(step, loss, tokens_per_s)`, called every now and then and after the last step."""


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """The mean loss of each window, `(W,)` nats per token, under each of the adapters: a list of them."""

    states: tuple[State, ...]
    windows_WT: Windows
    purpose: Purpose


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The most probable next tokens at every position but the last of each window: `SparseRows`."""

    state: State
    windows_WT: Windows
    shape: RowsShape


@dataclass(frozen=True, slots=True, eq=False)
class LastLogits:
    """The largest raw logits at the last position of each window: `LogitRows`."""

    state: State
    windows_WT: Windows
    shape: RowsShape


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Optimiser steps, one for each row of `batches`, which holds indices of windows: `Stepped`."""

    state: State
    moments: Moments
    windows_WT: Windows
    batches_SB: NDArray[np.int64]
    config: TrainingConfig
    on_step: OnStep


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """The adapter after its steps. `tokens` bear loss; `loss` is the mean over the steps, in nats."""

    state: dict[str, F32]
    moments: Moments
    samples: int
    tokens: int
    loss: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Slope:
    """The mean loss over all windows and its gradient with respect to the adapter: `Sloped`."""

    state: State
    windows_WT: Windows


@dataclass(frozen=True, slots=True, eq=False)
class Sloped:
    loss: float
    gradient: State


Job: TypeAlias = Losses | Predictions | LastLogits | Steps | Slope
R = TypeVar("R")
Task: TypeAlias = Generator[Job, Any, R]
"""What is sent in is the result of the job that was yielded; a job that failed is thrown in."""


def losses_of(states: tuple[State, ...], windows_WT: Windows, purpose: Purpose) -> Task[list[F32]]:
    return (yield Losses(states, windows_WT, purpose))


def predictions_of(state: State, windows_WT: Windows, shape: RowsShape) -> Task[SparseRows]:
    return (yield Predictions(state, windows_WT, shape))


def last_logits_of(state: State, windows_WT: Windows, shape: RowsShape) -> Task[LogitRows]:
    return (yield LastLogits(state, windows_WT, shape))


def stepped(job: Steps) -> Task[Stepped]:
    return (yield job)


def slope_of(state: State, windows_WT: Windows) -> Task[Sloped]:
    return (yield Slope(state, windows_WT))
