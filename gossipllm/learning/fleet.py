"""Adapters at work on one frozen base: trained, measured and asked for predictions, many in one pass.

Passes are cut so that the activations they keep stay below `PASS_BYTES`, however many adapters there are.

Adapters and moments are float32. Where the base is bfloat16 the passes compute in it, from a copy of the
adapters cast once a step, and the gradients come back in it (8 bits of mantissa, as in mixed precision
training everywhere).

Axes: P adapters, N their parameters; W windows, S steps, B windows of a batch, T positions, V tokens of the
vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, cast

import numpy as np
import torch

from gossipllm.config import AdapterConfig
from gossipllm.learning.engine import Engine, Meter, Slopes
from gossipllm.learning.jobs import (
    Job,
    LastLogits,
    Losses,
    Predictions,
    Purpose,
    Slope,
    Sloped,
    Stepped,
    Steps,
)
from gossipllm.learning.losses import token_losses
from gossipllm.learning.optimiser import AdamW, Moments
from gossipllm.learning.predictions import largest, likeliest
from gossipllm.mistakes import UserMistake
from gossipllm.model.adapters import Blueprint
from gossipllm.model.models import Base
from gossipllm.model.names import State
from gossipllm.text.data import Windows
from wire.floats import F32
from wire.logits import LogitRows, SparseRows

PASS_BYTES: Final = 2**28
"""Memory that the activations of a training pass may take; one adapter's batch goes whole all the same. Guess."""
_LOGITS_AT_ONCE: Final = 2**23
"""Logits of a pass that only measures: 32 MB as float32. Guess."""
_REPORT_EVERY_S: Final = 0.3

J = TypeVar("J")


class Fleet:
    """Performs jobs, one thread at a time."""

    def __init__(self, base: Base, config: AdapterConfig) -> None:
        self._engine = Engine(base, config)

    @property
    def base(self) -> Base:
        return self._engine.base

    @property
    def blueprint(self) -> Blueprint:
        return self._engine.blueprint

    @property
    def meter(self) -> Meter:
        return self._engine.meter

    def perform(self, jobs: Sequence[Job]) -> list[Any]:
        """The result of each job, in order; an exception in its place where one failed by itself.

        Jobs of one kind and shape go through the base together.
        """
        alike: dict[tuple[Any, ...], list[int]] = {}
        for index, job in enumerate(jobs):
            alike.setdefault(_kind(job), []).append(index)
        results: dict[int, Any] = {}
        for members in alike.values():
            results.update(zip(members, self._together([jobs[index] for index in members]), strict=True))
        return [results[index] for index in range(len(jobs))]

    def _together(self, jobs: Sequence[Any]) -> Sequence[Any]:
        match jobs[0]:
            case Losses():
                return self._losses(jobs)
            case Predictions():
                return self._predictions(jobs)
            case LastLogits():
                return self._last_logits(jobs)
            case Steps():
                tokens = jobs[0].batches_SB.shape[1] * jobs[0].windows_WT.shape[1]
                return self._in_passes(self._steps, jobs, tokens)
            case Slope():
                return self._in_passes(self._slopes, jobs, jobs[0].windows_WT.size)
            case other:
                raise TypeError(f"the fleet knows no {other!r}")

    # -- measuring ----------------------------------------------------------------------------------

    def _losses(self, jobs: Sequence[Losses]) -> list[list[F32]]:
        states = [state for job in jobs for state in job.states]
        windows = [job.windows_WT for job in jobs for _ in job.states]
        losses = [
            token_losses(logits_BTV, tokens_BT).mean(dim=1).cpu().numpy()
            for logits_BTV, tokens_BT in self._forward(states, windows, jobs[0].purpose)
        ]
        by_state = iter(np.concatenate(losses).reshape(len(states), -1))
        return [[next(by_state) for _ in job.states] for job in jobs]

    def _predictions(self, jobs: Sequence[Predictions]) -> list[SparseRows]:
        passes = self._forward([job.state for job in jobs], [job.windows_WT for job in jobs], "evidence")
        parts = [likeliest(logits_BTV[:, :-1].flatten(0, 1), jobs[0].shape.top) for logits_BTV, _ in passes]
        ids, logs, tails = (np.concatenate(each) for each in zip(*parts, strict=True))
        return [SparseRows(ids[one], logs[one], tails[one]) for one in _cuts(jobs[0].shape.rows, len(jobs))]

    def _last_logits(self, jobs: Sequence[LastLogits]) -> list[LogitRows]:
        passes = self._forward(
            [job.state for job in jobs], [job.windows_WT for job in jobs], "evidence", last=True
        )
        parts = [largest(logits_BTV[:, -1], jobs[0].shape.top) for logits_BTV, _ in passes]
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
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`(logits_BTV, tokens_BT)`, adapter by adapter and window by window, as many at once as memory allows.

        With `last` there are logits of the last position only.
        """
        count, length = windows[0].shape
        at_once = max(1, _LOGITS_AT_ONCE // (length * self._engine.vocabulary))
        adapters = max(1, at_once // count)
        for first in range(0, len(states), adapters):
            live_PN = self._engine.vectors(states[first : first + adapters]).to(self.base.dtype)
            with self._engine.mounted(self._engine.views(live_PN)):
                for start in range(0, count, min(at_once, count)):
                    block_PBT = np.stack(
                        [one[start : start + at_once] for one in windows[first : first + adapters]]
                    )
                    tokens_BT = self._engine.tokens(block_PBT)
                    self.meter.forward[purpose] += tokens_BT.numel()
                    yield self._engine.logits(tokens_BT, last=last), tokens_BT

    # -- training -----------------------------------------------------------------------------------

    def _in_passes(
        self, work: Callable[[Sequence[J]], list[Any]], jobs: Sequence[J], tokens: int
    ) -> list[Any]:
        at_once = max(1, PASS_BYTES // (self._engine.token_bytes * tokens))
        return [
            result for first in range(0, len(jobs), at_once) for result in work(jobs[first : first + at_once])
        ]

    def _steps(self, jobs: Sequence[Steps]) -> list[Stepped | UserMistake]:
        began = reported = time.perf_counter()
        theta_PN = self._engine.vectors([job.state for job in jobs])
        adamw = AdamW(
            [job.config for job in jobs],
            first_PN=self._engine.vectors([job.moments.first for job in jobs]),
            second_PN=self._engine.vectors([job.moments.second for job in jobs]),
            taken=[job.moments.steps for job in jobs],
        )
        steps, size = jobs[0].batches_SB.shape
        tokens = size * (jobs[0].windows_WT.shape[1] - 1)
        total_P = torch.zeros(len(jobs), dtype=torch.float64, device=self.base.device)
        failures: dict[int, UserMistake] = {}
        slopes = Slopes(self._engine, len(jobs))
        with self._engine.mounted(slopes.leaves):
            for step in range(steps):
                batch_PBT = np.stack([job.windows_WT[job.batches_SB[step]] for job in jobs])
                loss_P, gradient_PN = slopes.at(theta_PN, batch_PBT, "train")
                norm_P = adamw.step(theta_PN, gradient_PN)
                self._note_failures(failures, jobs, loss_P, norm_P, step)
                total_P += loss_P
                now = time.perf_counter()
                if now - reported >= _REPORT_EVERY_S or step == steps - 1:
                    reported = now
                    speed = tokens * (step + 1) / max(now - began, 1e-9)
                    for job, loss in zip(jobs, _numbers(loss_P), strict=True):
                        job.on_step(step + 1, loss, speed)
        seconds = time.perf_counter() - began
        states = self._engine.states(theta_PN)
        memories = zip(
            self._engine.states(adamw.first_PN),
            self._engine.states(adamw.second_PN),
            adamw.taken,
            strict=True,
        )
        return [
            failures.get(index)
            or Stepped(
                {**job.state, **state},
                Moments(taken, first, second),
                samples=steps * size,
                tokens=steps * tokens,
                loss=loss / max(steps, 1),
                seconds=seconds,
            )
            for index, (job, state, (first, second, taken), loss) in enumerate(
                zip(jobs, states, memories, _numbers(total_P), strict=True)
            )
        ]

    def _slopes(self, jobs: Sequence[Slope]) -> list[Sloped]:
        slopes = Slopes(self._engine, len(jobs))
        with self._engine.mounted(slopes.leaves):
            loss_P, gradient_PN = slopes.at(
                self._engine.vectors([job.state for job in jobs]),
                np.stack([job.windows_WT for job in jobs]),
                "row",
            )
        return [
            Sloped(loss, state)
            for loss, state in zip(_numbers(loss_P), self._engine.states(gradient_PN), strict=True)
        ]

    @staticmethod
    def _note_failures(
        failures: dict[int, UserMistake],
        jobs: Sequence[Steps],
        loss_P: torch.Tensor,
        norm_P: torch.Tensor,
        step: int,
    ) -> None:
        # One look at the accelerator's numbers a step, not one for each adapter.
        if bool(torch.isfinite(loss_P + norm_P).all()):
            return
        for index, (job, loss, norm) in enumerate(zip(jobs, _numbers(loss_P), _numbers(norm_P), strict=True)):
            if not (math.isfinite(loss) and math.isfinite(norm)) and index not in failures:
                failures[index] = UserMistake(
                    f"training diverged in step {job.moments.steps + step} (loss {loss}, gradient {norm}); "
                    f"lower training.learning_rate, now {job.config.learning_rate}"
                )


def _kind(job: Job) -> tuple[Any, ...]:
    """Jobs of equal kind can be performed together."""
    match job:
        case Losses():
            return (Losses, job.windows_WT.shape, job.purpose)
        case Predictions() | LastLogits():
            return (type(job), job.windows_WT.shape, job.shape)
        case Steps():
            return (Steps, job.batches_SB.shape, job.windows_WT.shape[1])
        case Slope():
            return (Slope, job.windows_WT.shape)


def _numbers(values_P: torch.Tensor) -> list[float]:
    return cast("Any", values_P).tolist()


def _cuts(rows: int, count: int) -> list[slice]:
    return [slice(first, first + rows) for first in range(0, count * rows, rows)]
