"""Local training: AdamW on the adapter's tensors, for a number of steps.

AdamW's moments and the step count live through a merge. Wagner et al. (2024) keep them in their released
code, and so do we: `merging.py` returns factors in coordinates near the previous ones, so that a moment
still belongs to the entry it was measured on. Starting them anew would cost a warm-up in every round.

Axes: B windows of a batch, T positions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from gossipllm.config import TrainingConfig
from gossipllm.learning.evaluation import logits, next_token_losses, to_device
from gossipllm.mistakes import UserMistake
from gossipllm.model.adapters import Adapter
from gossipllm.randomness import permutation
from gossipllm.text.data import Windows
from wire.floats import F32

BETAS = (0.9, 0.95)
FINAL_RATE_SHARE = 0.1
REPORT_EVERY_S = 0.3

OnStep = Callable[[int, float, float], None]
"""`(step, loss, tokens_per_s)`, called about every `REPORT_EVERY_S`."""


@dataclass(frozen=True, slots=True)
class LocalSteps:
    """What a round of training did. `tokens` bear loss; `loss` is their mean, in nats."""

    steps: int
    samples: int
    tokens: int
    loss: float
    seconds: float


@dataclass(slots=True, eq=False)
class Moments:
    """AdamW's memory: running means of gradients and of their squares by tensor, after `steps` steps."""

    steps: int = 0
    first: Mapping[str, F32] = field(default_factory=dict[str, F32])
    second: Mapping[str, F32] = field(default_factory=dict[str, F32])


class Trainer:
    """An adapter's optimiser and the number of steps it has taken."""

    def __init__(self, adapter: Adapter, config: TrainingConfig) -> None:
        self.config = config
        self.steps = 0
        self._adapter = adapter
        self._optimiser = self._fresh()

    def run(self, windows_WT: Windows, *, round_number: int, steps: int, on_step: OnStep) -> LocalSteps:
        """`steps` optimiser steps. Raises `UserMistake` where the loss stops being a number."""
        began = reported = time.perf_counter()
        samples = tokens = 0
        total = 0.0
        for step in range(steps):
            chosen_B = batch(len(windows_WT), self.config, round_number=round_number, step=step)
            loss = self._step(windows_WT[chosen_B])
            samples += len(chosen_B)
            tokens += len(chosen_B) * (windows_WT.shape[1] - 1)
            total += loss
            now = time.perf_counter()
            if now - reported >= REPORT_EVERY_S or step == steps - 1:
                reported = now
                on_step(step + 1, loss, tokens / max(now - began, 1e-9))
        seconds = time.perf_counter() - began
        return LocalSteps(steps, samples, tokens, total / max(steps, 1), seconds)

    def moments(self) -> Moments:
        """A copy of the optimiser's memory; empty before the first step."""
        memory = self._optimiser.state
        held = {name: memory[value] for name, value in self._adapter.parameters.items() if value in memory}
        return Moments(
            self.steps,
            {name: state["exp_avg"].cpu().numpy().copy() for name, state in held.items()},
            {name: state["exp_avg_sq"].cpu().numpy().copy() for name, state in held.items()},
        )

    def set_moments(self, moments: Moments) -> None:
        self.steps = moments.steps
        self._optimiser = self._fresh()
        for name, value in self._adapter.parameters.items():
            if name in moments.first:
                self._optimiser.state[value] = {
                    "step": torch.tensor(float(moments.steps), device=value.device),
                    "exp_avg": torch.tensor(moments.first[name], device=value.device),
                    "exp_avg_sq": torch.tensor(moments.second[name], device=value.device),
                }

    def _step(self, windows_BT: Windows) -> float:
        tokens_BT = to_device(windows_BT, self._adapter.model)
        loss = next_token_losses(logits(self._adapter.model, tokens_BT), tokens_BT).mean()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        parameters = list(self._adapter.parameters.values())
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        if not math.isfinite(loss.item()) or not math.isfinite(norm.item()):
            self._optimiser.zero_grad()
            raise UserMistake(
                f"training diverged in step {self.steps} (loss {loss.item()}, gradient {norm.item()}); "
                f"lower training.learning_rate, now {self.config.learning_rate}"
            )
        for group in self._optimiser.param_groups:
            group["lr"] = rate(self.steps, self.config)
        self._optimiser.step()  # pyright: ignore[reportUnknownMemberType]
        self._optimiser.zero_grad()
        self.steps += 1
        return loss.item()

    def _fresh(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            list(self._adapter.parameters.values()),
            lr=self.config.learning_rate,
            betas=BETAS,
            weight_decay=self.config.weight_decay,
            fused=True,
        )


def rate(step: int, config: TrainingConfig) -> float:
    """The learning rate of the step after `step` steps: linear warm-up, then constant or a cosine.

    The cosine reaches `FINAL_RATE_SHARE` of the peak at `decay_steps` and stays there.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if not config.decay_steps:
        return config.learning_rate
    share = min(1.0, (step - config.warmup_steps) / (config.decay_steps - config.warmup_steps))
    cosine = (1 + math.cos(math.pi * share)) / 2
    return config.learning_rate * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * cosine)


def batch(windows: int, config: TrainingConfig, *, round_number: int, step: int) -> NDArray[np.int64]:
    """Indices of the windows of a step: a function of (seed, round, step), so a repeated round sees the same.

    A round walks through one shuffle of all windows after another; no batch holds a window twice.
    """
    size = min(config.batch_windows, windows)
    batches = windows // size
    order = _order(config.seed, round_number, step // batches, windows)
    first = (step % batches) * size
    return order[first : first + size]


@lru_cache(maxsize=2)
def _order(seed: int, round_number: int, pass_: int, windows: int) -> NDArray[np.int64]:
    return permutation("gossipllm/batches/1", (seed, round_number, pass_), windows)
