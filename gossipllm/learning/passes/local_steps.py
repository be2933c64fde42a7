"""Passes with gradients: local steps of many adapters side by side, and slopes of the loss.

Adapters and moments are float32. Where the base is bfloat16 the passes compute in it, from a copy of the
adapters cast once a step, and the gradients come back in it (8 bits of mantissa, as in mixed precision
training everywhere).

Axes: P adapters, N trained parameters of each; S steps, B windows of a batch, T positions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from typing import Any, Final, cast

import numpy as np
import torch

from gossipllm.learning.jobs.jobs import SlopeDone, SlopeJob, StepsDone, StepsJob
from gossipllm.learning.jobs.kept import KeptPredictions, KeptSpan
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.engine import Engine, Slopes
from gossipllm.learning.passes.flat import FlatLayout
from gossipllm.learning.passes.importance import ByProduct
from gossipllm.learning.passes.optimiser import AdamW, Descent
from gossipllm.learning.passes.retention import Fence, pull
from gossipllm.model.adapter.dropout import Dropout
from gossipllm.model.adapter.names import A, B
from gossipllm.text.windows import targets
from trust.errors import UserMistake

_REPORT_EVERY_S: Final = 0.3


def local_steps(engine: Engine, jobs: Sequence[StepsJob]) -> list[StepsDone | UserMistake]:
    """Perform jobs of one kind (`fleet.kind_of`) side by side. A job that diverges gives an error in its place."""
    began = reported = time.perf_counter()
    flat = engine.flat_layout(jobs[0].tensors)
    states = [job.state for job in jobs]
    stretch_PN = stretches([job.stretch for job in jobs], flat, engine.blueprint.anatomy.mirrored)
    theta_PN = flat.rows(states)
    if stretch_PN is not None:
        theta_PN /= stretch_PN
    mask_PN = flat.masks([job.masks for job in jobs])
    optimiser = _optimiser(jobs, flat)
    keeps = jobs[0].keeps
    fence = Fence(flat, keeps, engine.base.device) if isinstance(keeps, KeptSpan) else None
    measure = ByProduct(engine, flat, sent(theta_PN, stretch_PN)) if jobs[0].measure else None
    steps, size = jobs[0].batches_SB.shape
    tokens = [int(targets(job.windows_WT)[job.batches_SB].sum()) for job in jobs]
    total_P = torch.zeros(len(jobs), dtype=torch.float64, device=engine.base.device)
    failures: dict[int, UserMistake] = {}
    slopes = Slopes(
        engine,
        flat,
        states,
        reduction=jobs[0].config.reduction,
        context_model=jobs[0].context_model,
        fused=jobs[0].config.arithmetic != "plain",
    )
    with slopes.mounted():
        for step in range(steps):
            batch_PBT = np.stack([job.windows_WT[job.batches_SB[step]] for job in jobs])
            sent_PN = sent(theta_PN, stretch_PN)
            loss_P, gradient_PN = slopes.at(
                sent_PN,
                batch_PBT,
                "train",
                _dropouts(jobs, step),
                at_once=jobs[0].config.micro_windows,
            )
            if measure is not None:
                measure.add(sent_PN, gradient_PN)
            if isinstance(keeps, KeptPredictions):
                gradient_PN += pull(engine, slopes, keeps, sent_PN, step)
            if stretch_PN is not None:
                gradient_PN.mul_(stretch_PN)
            before_PN = None if fence is None else theta_PN.clone()
            norm_P = optimiser.step(theta_PN, gradient_PN, mask_PN)
            if fence is not None and before_PN is not None:
                fence.bend(before_PN, theta_PN)
            _note_failures(failures, jobs, loss_P, norm_P, step)
            total_P += loss_P
            now = time.perf_counter()
            if now - reported >= _REPORT_EVERY_S or step == steps - 1:
                reported = now
                done = (step + 1) / (steps * max(now - began, 1e-9))
                for job, loss, count in zip(jobs, numbers(loss_P), tokens, strict=True):
                    job.on_step(step + 1, loss, count * done)
    seconds = time.perf_counter() - began
    importances = measure.means() if measure is not None else [()] * len(jobs)
    return [
        failures.get(index)
        or StepsDone(
            {**job.state, **state},
            moments,
            samples=steps * size,
            tokens=count,
            loss=loss / max(steps, 1),
            seconds=seconds,
            importance=importance,
        )
        for index, (job, state, moments, count, loss, importance) in enumerate(
            zip(
                jobs,
                flat.states(sent(theta_PN, stretch_PN)),
                _memories(jobs, flat, optimiser),
                tokens,
                numbers(total_P),
                importances,
                strict=True,
            )
        )
    ]


def slopes_of(engine: Engine, jobs: Sequence[SlopeJob]) -> list[SlopeDone]:
    states = [job.state for job in jobs]
    slopes = Slopes(engine, engine.whole, states, reduction=jobs[0].reduction)
    with slopes.mounted():
        loss_P, gradient_PN = slopes.at(
            engine.whole.rows(states), np.stack([job.windows_WT for job in jobs]), "row"
        )
    return [
        SlopeDone(loss, state)
        for loss, state in zip(numbers(loss_P), engine.whole.states(gradient_PN), strict=True)
    ]


def numbers(values_P: torch.Tensor) -> list[float]:
    return cast("Any", values_P).tolist()


def stretches(factors: Sequence[float], flat: FlatLayout, mirrored: Collection[str]) -> torch.Tensor | None:
    """`(P, N)`: each adapter's `stretch` (`StepsJob`) in the factor that starts at zero, A in modules that are
    `mirrored` and B in others, and 1 elsewhere; None where all are 1."""
    if all(factor == 1 for factor in factors):
        return None

    def starts_at_zero(name: str) -> bool:
        module, _, _ = name.rpartition(".")
        return name.endswith(A if module in mirrored else B)

    shapes = {name: shape for name, (_, shape) in flat.places.items()}
    return flat.rows(
        [
            {
                name: np.full(shape, factor if starts_at_zero(name) else 1, np.float32)
                for name, shape in shapes.items()
            }
            for factor in factors
        ]
    )


def sent(theta_PN: torch.Tensor, stretch_PN: torch.Tensor | None) -> torch.Tensor:
    """The adapters in the form that is sent and measured."""
    return theta_PN if stretch_PN is None else theta_PN * stretch_PN


def _dropouts(jobs: Sequence[StepsJob], step: int) -> list[Dropout]:
    """One for each adapter, or nothing where none drops anything."""
    if not any(job.dropout for job in jobs):
        return []
    return [Dropout(job.dropout, (job.config.seed, job.round, step)) for job in jobs]


def _optimiser(jobs: Sequence[StepsJob], flat: FlatLayout) -> AdamW | Descent:
    configs, taken = [job.config for job in jobs], [job.moments.steps for job in jobs]
    if configs[0].optimiser == "sgd":
        return Descent(configs, taken=taken)
    return AdamW(
        configs,
        first_PN=flat.rows([job.moments.first for job in jobs]),
        second_PN=flat.rows([job.moments.second for job in jobs]),
        taken=taken,
        since=[job.moments.since for job in jobs],
    )


def _memories(jobs: Sequence[StepsJob], flat: FlatLayout, optimiser: AdamW | Descent) -> list[Moments]:
    if isinstance(optimiser, Descent):
        return [
            Moments(taken, since=job.moments.since, units=job.moments.units)
            for job, taken in zip(jobs, optimiser.taken, strict=True)
        ]
    return [
        Moments(taken, first, second, job.moments.since, job.moments.units)
        for job, taken, first, second in zip(
            jobs,
            optimiser.taken,
            flat.states(optimiser.first_PN),
            flat.states(optimiser.second_PN),
            strict=True,
        )
    ]


def _note_failures(
    failures: dict[int, UserMistake],
    jobs: Sequence[StepsJob],
    loss_P: torch.Tensor,
    norm_P: torch.Tensor,
    step: int,
) -> None:
    # One transfer from the accelerator a step instead of one for each adapter.
    if bool(torch.isfinite(loss_P + norm_P).all()):
        return
    for index, (job, loss, norm) in enumerate(zip(jobs, numbers(loss_P), numbers(norm_P), strict=True)):
        if not (math.isfinite(loss) and math.isfinite(norm)) and index not in failures:
            failures[index] = UserMistake(
                f"training diverged in step {job.moments.steps + step} (loss {loss}, gradient {norm}); "
                f"lower training.learning_rate, now {job.config.learning_rate}"
            )
