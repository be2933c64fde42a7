"""Performs jobs on one frozen base: many adapters are trained, measured and asked for predictions in one pass.

Passes are cut so that the activations they keep stay below `PASS_BYTES`, however many adapters there are. Passes with
gradients stand in `local_steps.py`, `distillation.py` and `importance.py`. A fleet is for adapters of one blueprint;
fleets of several ranks or sets of modules may share a base, as long as one works at a time.

Axes: P adapters, N their parameters; W windows, B windows of a batch, T positions, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import torch

from gossipllm.config import AdapterConfig
from gossipllm.learning.jobs.jobs import (
    DistilJob,
    Job,
    LastLogitsJob,
    LossJob,
    PredictBytesJob,
    PredictJob,
    ProbeJob,
    Purpose,
    SlopeJob,
    StepsJob,
)
from gossipllm.learning.jobs.next_bytes import BytePredictions, joined
from gossipllm.learning.passes.distillation import distilled
from gossipllm.learning.passes.engine import Engine, PassCounter
from gossipllm.learning.passes.importance import probe
from gossipllm.learning.passes.local_steps import local_steps, slopes_of
from gossipllm.learning.passes.losses import bearing_rows, token_losses, tokens_and_mask, window_means
from gossipllm.learning.passes.predicting.byte_predictions import byte_predictions
from gossipllm.learning.passes.predicting.predictions import largest, likeliest
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.model.adapter.placement import Attached, attach
from gossipllm.model.loading.models import Base
from gossipllm.text.windows import Windows, targets
from wire.floats import F32
from wire.predictions.logits import LogitRows, SparseRows

PASS_BYTES: Final = 2**28
"""Memory for the activations of a training pass. One adapter's batch is never cut, even where it takes more. Guess."""
_LOGITS_AT_ONCE: Final = 2**23
"""Most logits in a pass that only measures: 32 MB as float32. Guess."""

J = TypeVar("J")


class Fleet:
    """Performs jobs for adapters of one blueprint, in one thread at a time. Without `attached`, sites are put into the
    base."""

    def __init__(
        self,
        base: Base,
        config: AdapterConfig,
        *,
        attached: Attached | None = None,
        meter: PassCounter | None = None,
    ) -> None:
        attached = attached or attach(base.model, config)
        self._engine = Engine(base, attached.blueprint(config), meter or PassCounter())

    @property
    def base(self) -> Base:
        return self._engine.base

    @property
    def blueprint(self) -> Blueprint:
        return self._engine.blueprint

    @property
    def meter(self) -> PassCounter:
        return self._engine.meter

    def perform(self, jobs: Sequence[Job]) -> list[Any]:
        """The result of each job, in order. Where a single job failed, its exception stands in its place.

        Jobs of one kind and shape go through the base together.
        """
        alike: dict[tuple[Any, ...], list[int]] = {}
        for index, job in enumerate(jobs):
            alike.setdefault(kind_of(job), []).append(index)
        results: dict[int, Any] = {}
        for members in alike.values():
            results.update(zip(members, self._together([jobs[index] for index in members]), strict=True))
        return [results[index] for index in range(len(jobs))]

    def _together(self, jobs: Sequence[Any]) -> Sequence[Any]:
        match jobs[0]:
            case LossJob():
                return self._losses(jobs)
            case PredictJob():
                return self._predictions(jobs)
            case PredictBytesJob():
                return self._byte_predictions(jobs)
            case LastLogitsJob():
                return self._last_logits(jobs)
            case StepsJob():
                batch, most = jobs[0].batches_SB.shape[1], jobs[0].config.micro_windows
                tokens = min(batch, most or batch) * jobs[0].windows_WT.shape[1]
                return self._in_passes(local_steps, jobs, tokens)
            case DistilJob():
                return [distilled(self._engine, job) for job in jobs]
            case SlopeJob():
                return self._in_passes(slopes_of, jobs, jobs[0].windows_WT.size)
            case ProbeJob():
                return self._in_passes(probe, jobs, jobs[0].windows_BT.size)
            case other:
                raise TypeError(f"the fleet knows no {other!r}")

    # -- measuring ----------------------------------------------------------------------------------

    def _losses(self, jobs: Sequence[LossJob]) -> list[list[F32]]:
        states = [state for job in jobs for state in job.states]
        windows = [job.windows_WT for job in jobs for _ in job.states]
        losses = [
            window_means(token_losses(logits_BTV, tokens_BT), bears_BU).cpu().numpy()
            for logits_BTV, tokens_BT, bears_BU in self._forward(states, windows, jobs[0].purpose)
        ]
        by_state = iter(np.concatenate(losses).reshape(len(states), -1))
        return [[next(by_state) for _ in job.states] for job in jobs]

    def _predictions(self, jobs: Sequence[PredictJob]) -> list[SparseRows]:
        passes = self._forward([job.state for job in jobs], [job.windows_WT for job in jobs], "evidence")
        shape = jobs[0].shape
        parts = [
            likeliest(bearing_rows(logits_BTV, bears_BU), shape.top, shape.vocabulary)
            for logits_BTV, _, bears_BU in passes
        ]
        ids, logs, tails = (np.concatenate(each) for each in zip(*parts, strict=True))
        return [SparseRows(ids[one], logs[one], tails[one]) for one in _cuts(shape.rows, len(jobs))]

    def _byte_predictions(self, jobs: Sequence[PredictBytesJob]) -> list[BytePredictions]:
        windows_WT = jobs[0].windows_WT
        symbols_V = torch.tensor(jobs[0].symbols_V, device=self.base.device)
        passes = self._forward([job.state for job in jobs], [windows_WT] * len(jobs), "evidence")
        made = joined(
            [
                byte_predictions(
                    bearing_rows(logits_BTV, bears_BU),
                    bearing_rows(tokens_BT.roll(-1, dims=1), bears_BU),
                    symbols_V,
                    jobs[0].top,
                )
                for logits_BTV, tokens_BT, bears_BU in passes
            ]
        )
        return [made.part(one) for one in _cuts(int(targets(windows_WT).sum()), len(jobs))]

    def _last_logits(self, jobs: Sequence[LastLogitsJob]) -> list[LogitRows]:
        passes = self._forward(
            [job.state for job in jobs], [job.windows_WT for job in jobs], "evidence", last=True
        )
        parts = [largest(logits_BTV[:, -1], jobs[0].shape.top) for logits_BTV, *_ in passes]
        ids, values = (np.concatenate(each) for each in zip(*parts, strict=True))
        return [LogitRows(ids[one], values[one]) for one in _cuts(jobs[0].shape.rows, len(jobs))]

    @torch.inference_mode()
    def _forward(
        self,
        states: Sequence[State],
        windows: Sequence[Windows],
        purpose: Purpose,
        *,
        last: bool = False,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """Yield `(logits_BTV, tokens_BT, bears_BU)`, adapter by adapter and window by window, as many at once as memory
        allows. `bears_BU` says which targets bear loss and is None where all do.

        With `last` there are logits of the last position only.
        """
        count, length = windows[0].shape
        at_once = max(1, _LOGITS_AT_ONCE // (length * self._engine.vocabulary))
        adapters = max(1, at_once // count)
        for first in range(0, len(states), adapters):
            with self._engine.mounted(self._engine.live(states[first : first + adapters])):
                for start in range(0, count, min(at_once, count)):
                    block_PBT = np.stack(
                        [one[start : start + at_once] for one in windows[first : first + adapters]]
                    )
                    tokens_BT, bears_BU = tokens_and_mask(block_PBT, self.base.device)
                    self.meter.forward[purpose] += tokens_BT.numel()
                    yield self._engine.logits(tokens_BT, last=last), tokens_BT, bears_BU

    # -- training -----------------------------------------------------------------------------------

    def _in_passes(
        self, work: Callable[[Engine, Sequence[J]], list[Any]], jobs: Sequence[J], tokens: int
    ) -> list[Any]:
        at_once = max(1, PASS_BYTES // (self._engine.token_bytes * tokens))
        return [
            result
            for first in range(0, len(jobs), at_once)
            for result in work(self._engine, jobs[first : first + at_once])
        ]


def kind_of(job: Job) -> tuple[Any, ...]:
    """A key: jobs of equal kind can be performed together."""
    match job:
        case LossJob():
            return (LossJob, job.windows_WT.shape, job.purpose)
        case PredictJob() | LastLogitsJob():
            return (type(job), job.windows_WT.shape, job.shape)
        case PredictBytesJob():
            return (PredictBytesJob, id(job.windows_WT), id(job.symbols_V), job.top)
        case StepsJob():
            return (
                StepsJob,
                job.batches_SB.shape,
                job.windows_WT.shape[1],
                job.config.optimiser,
                job.config.reduction,
                job.config.arithmetic,
                job.config.micro_windows,
                job.tensors,
                job.masks is None,
                job.context_model,
                job.measure,
                None if job.keeps is None else id(job),
            )
        case DistilJob():
            return (DistilJob,)
        case SlopeJob():
            return (SlopeJob, job.windows_WT.shape, job.reduction)
        case ProbeJob():
            return (ProbeJob, job.windows_BT.shape, job.reduction)


def _cuts(rows: int, count: int) -> list[slice]:
    return [slice(first, first + rows) for first in range(0, count * rows, rows)]
