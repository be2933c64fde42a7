"""Pretraining steps of an embedded model, their speed, and the points of the loss curve.

Axes: B windows, T positions, V tokens of the vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from gossipllm.base.making.checkpoint import CurvePoint, PretrainingRun
from gossipllm.base.making.loss import evaluate, windows
from gossipllm.base.making.recipe import rate
from gossipllm.base.making.replicas import Replicas
from gossipllm.base.making.vocabulary import Tokens


def train(run: PretrainingRun, stream: Tokens, *, threads: int, after_step: Callable[[], bool]) -> None:
    """Train until the budget of tokens is spent or `after_step` returns True."""
    with Replicas(run.model, threads) as replicas:
        while run.step < run.config.steps:
            loss = train_step(run, stream, replicas)
            # An exponential mean, which begins with the first loss instead of 0.
            run.training_nats += (loss - run.training_nats) * (1.0 if run.step == 1 else 0.05)
            if after_step():
                return


def train_step(run: PretrainingRun, stream: Tokens, replicas: Replicas) -> float:
    """One step of AdamW on windows at random places of the stream. Returns their mean loss in nats per token."""
    config = run.config
    rng = np.random.default_rng((config.seed, run.step))
    starts = rng.integers(0, len(stream) - config.window_tokens, size=config.batch_windows)
    batch_BT = windows(stream, starts, config.window_tokens)
    for group in run.optimiser.param_groups:
        group["lr"] = rate(run.step, config)
    loss = replicas.add_gradient(batch_BT, micro_windows=config.micro_windows, bf16=config.bf16)
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.clip_norm)
    run.optimiser.step()  # pyright: ignore[reportUnknownMemberType]
    run.optimiser.zero_grad()
    run.step += 1
    return loss


def measured_tokens_per_s(run: PretrainingRun, stream: Tokens, *, threads: int) -> float:
    """The speed of training over five steps. They change `run`, so pass a run that is discarded afterwards."""
    with Replicas(run.model, threads) as replicas:
        train_step(run, stream, replicas)  # the first step allocates
        start = time.perf_counter()
        for _ in range(5):
            train_step(run, stream, replicas)
        return 5 * run.config.tokens_a_step / (time.perf_counter() - start)


def curve_point(
    run: PretrainingRun, validation: Tokens, bytes_V: NDArray[np.int64], *, whole: bool
) -> CurvePoint:
    """Losses and speed of the run as it is; `whole` evaluates on all validation windows."""
    config = run.config
    nats, bits = evaluate(
        run.model,
        validation,
        bytes_V,
        window_tokens=config.window_tokens,
        bf16=config.bf16,
        count=None if whole else config.validation_windows,
    )
    return CurvePoint(
        step=run.step,
        tokens=run.step * config.tokens_a_step,
        training_nats=run.training_nats,
        validation_nats=nats,
        bits_per_byte=bits,
        rate=rate(run.step - 1, config),
        wall_s=run.wall_s,
    )
