"""The curve of one device alone: its loss after each few steps at one batch and rate, whatever a step takes.

How long a device needs follows from the steps, so that one curve serves every device on paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from gossipllm.config import DataConfig, LearnerConfig, ModelConfig, TrainingConfig

BATCHES: Final = (1, 2, 4, 8, 16, 32)
"""Windows of a step."""
RATES: Final = (2e-3, 4e-3, 8e-3, 1.6e-2)
"""Peak rates of AdamW."""
WINDOW: Final = 64
"""Tokens of a window."""
FIRST_TOKENS: Final = 6_144
"""Tokens of the curve that sets a text's target."""
_MOST_TIMES: Final = 5.0
"""Times these tokens after which a curve ends, wherever it is."""
_POINT_TOKENS: Final = 1024
"""Tokens between two points of a curve, at least a step."""
_TEST_WINDOWS: Final = 24
_WARM_TOKENS: Final = 1024
"""Tokens over which a rate rises, the same for all, at least a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesTask:
    """Curves to measure, one for each rate: training goes on until the loss is below `target`, or for `FIRST_TOKENS`
    where that is 0."""

    text: str
    model: str
    batch: int
    rates: tuple[float, ...]
    target: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{Path(self.text).stem}-{'batch' if self.target else 'first'}{self.batch}"


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """`points` are (steps, loss of the test split in nats a token); the first is before any step. `noise_tokens` is the
    noise scale of the text's gradients there (`gossipllm.learning.choosing.gradient_noise`)."""

    text: str
    batch: int
    rate: float
    points: tuple[tuple[int, float], ...]
    noise_tokens: float

    def steps_to(self, loss: float) -> float | None:
        """Steps to this loss, between two points along a line; None where the curve ends before."""
        for (before, high), (after, low) in zip(self.points, self.points[1:], strict=False):
            if low <= loss < high:
                return before + (high - loss) / (high - low) * (after - before)
        return None


def perform(task: CurvesTask, advanced: Callable[[int], None]) -> tuple[Curve, ...]:
    """Train and measure, in a worker process, all rates in the same passes. Raises `UserMistake`."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.learning.choosing.gradient_noise import noise_of
    from gossipllm.learning.learner import Learner
    from gossipllm.learning.learner_pool import LearnerPool, together
    from gossipllm.learning.shared_model import load_text
    from gossipllm.work import Failed, Open, Request, Train
    from trust.errors import UserMistake

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    disable_progress_bar()
    configs = [_config(task, rate) for rate in task.rates]
    pool = LearnerPool(configs[0], lambda _phase, _step: None)
    splits = load_text(configs[0], pool.base)
    learners = [pool.new_learner(config, splits) for config in configs]

    def ask(questions: list[tuple[Learner, Request]]) -> None:
        for answer in pool.answer(questions):
            if isinstance(answer, Failed):
                raise UserMistake(answer.why)

    ask(
        [
            (one, Open(request=0, config=config, snapshot=None))
            for one, config in zip(learners, configs, strict=True)
        ]
    )
    tokens = task.batch * WINDOW
    (noise_tokens,) = together([(noise_of(learners[0].state, splits.train_WT), learners[0])])
    points = [[(0, float(losses_W.mean()))] for losses_W in pool.test_losses(learners)]
    each = max(1, _POINT_TOKENS // tokens)
    most = FIRST_TOKENS * (_MOST_TIMES if task.target else 1)
    round_ = 0
    while going := [
        index
        for index, known in enumerate(points)
        if known[-1][0] * tokens < most and known[-1][1] > task.target
    ]:
        asked = [learners[index] for index in going]
        ask([(one, Train(request=1, round=round_, steps=each)) for one in asked])
        for index, losses_W in zip(going, pool.test_losses(asked), strict=True):
            points[index].append((points[index][-1][0] + each, float(losses_W.mean())))
        round_ += 1
        advanced(round_)
    return tuple(
        Curve(
            text=Path(task.text).stem,
            batch=task.batch,
            rate=rate,
            points=tuple(known),
            noise_tokens=noise_tokens,
        )
        for rate, known in zip(task.rates, points, strict=True)
    )


def first_of(text: str, model: str) -> CurvesTask:
    """The curve that sets a text's target: the loss at its end."""
    return CurvesTask(text=text, model=model, batch=4, rates=(4e-3,))


def others_of(first: CurvesTask, target: float) -> list[CurvesTask]:
    """The curves of the whole grid, to this target."""
    return [replace(first, batch=batch, rates=RATES, target=target) for batch in BATCHES]


def _config(task: CurvesTask, rate: float) -> LearnerConfig:
    return LearnerConfig(
        model=ModelConfig(name=task.model, device="cpu", dtype="float32", threads=1),
        data=DataConfig(
            path=task.text, window_tokens=WINDOW, trust_windows=2, weigh_windows=2, test_windows=_TEST_WINDOWS
        ),
        training=TrainingConfig(
            batch_windows=task.batch,
            learning_rate=rate,
            warmup_steps=math.ceil(_WARM_TOKENS / (task.batch * WINDOW)),
            order="once",
            seed=task.seed,
        ),
    )
