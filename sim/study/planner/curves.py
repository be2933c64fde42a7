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
class CurveTask:
    """A curve to measure: training goes on until the loss is below `target`, or `FIRST_TOKENS` where that is 0."""

    text: str
    model: str
    batch: int
    rate: float
    target: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{Path(self.text).stem}-batch{self.batch}-rate{self.rate:g}"


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """`points` are (steps, loss of the test split in nats a token); the first is before any step."""

    text: str
    batch: int
    rate: float
    points: tuple[tuple[int, float], ...]

    def steps_to(self, loss: float) -> float | None:
        """Steps to this loss, between two points along a line; None where the curve ends before."""
        for (before, high), (after, low) in zip(self.points, self.points[1:], strict=False):
            if low <= loss < high:
                return before + (high - loss) / (high - low) * (after - before)
        return None


def perform(task: CurveTask, advanced: Callable[[int], None]) -> Curve:
    """Train and measure, in a worker process. Raises `UserMistake`."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.learning.learner_pool import LearnerPool
    from gossipllm.learning.shared_model import load_text
    from gossipllm.work import Failed, Open, Train
    from trust.errors import UserMistake

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    disable_progress_bar()
    tokens = task.batch * WINDOW
    config = LearnerConfig(
        model=ModelConfig(name=task.model, device="cpu", dtype="float32", threads=1),
        data=DataConfig(
            path=task.text, window_tokens=WINDOW, trust_windows=2, weigh_windows=2, test_windows=_TEST_WINDOWS
        ),
        training=TrainingConfig(
            batch_windows=task.batch,
            learning_rate=task.rate,
            warmup_steps=math.ceil(_WARM_TOKENS / tokens),
            order="once",
            seed=task.seed,
        ),
    )
    pool = LearnerPool(config, lambda _phase, _step: None)
    learner = pool.new_learner(config, load_text(config, pool.base))
    (opened,) = pool.answer([(learner, Open(request=0, config=config, snapshot=None))])
    steps, losses = 0, [(0, float(pool.test_losses([learner])[0].mean()))]
    each = max(1, _POINT_TOKENS // tokens)
    most = FIRST_TOKENS * (_MOST_TIMES if task.target else 1)
    while not isinstance(opened, Failed) and steps * tokens < most and losses[-1][1] > task.target:
        (opened,) = pool.answer([(learner, Train(request=1, round=len(losses), steps=each))])
        steps += each
        losses.append((steps, float(pool.test_losses([learner])[0].mean())))
        advanced(steps)
    if isinstance(opened, Failed):
        raise UserMistake(opened.why)
    return Curve(text=Path(task.text).stem, batch=task.batch, rate=task.rate, points=tuple(losses))


def first_of(text: str, model: str) -> CurveTask:
    """The curve that sets a text's target: the loss at its end."""
    return CurveTask(text=text, model=model, batch=4, rate=4e-3)


def others_of(first: CurveTask, target: float) -> list[CurveTask]:
    """The curves of the whole grid, to this target: those at the ends of both axes first."""
    pairs = [(batch, rate) for batch in BATCHES for rate in RATES]
    ends = [
        pair for pair in pairs if pair[0] in (BATCHES[0], BATCHES[-1]) and pair[1] in (RATES[0], RATES[-1])
    ]
    return [
        replace(first, batch=batch, rate=rate, target=target)
        for batch, rate in dict.fromkeys((*ends, *pairs))
    ]
