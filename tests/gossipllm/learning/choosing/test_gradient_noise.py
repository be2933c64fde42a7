"""The noise scale of gradients: closed forms on gradients that are given, and a text that is the same throughout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.learning.choosing.gradient_noise import MOST_TIMES, WINDOWS, noise_of
from gossipllm.learning.jobs.jobs import SlopeDone, Task
from gossipllm.learning.learner_pool import together
from gossipllm.learning.shared_model import load_text
from support.learners import opened

TOKENS = 32


def scale(gradients: Callable[[int], list[float]], windows: int = 400) -> float:
    """What is found where the window of this index has this gradient."""
    windows_WT = np.repeat(np.arange(windows, dtype=np.int32)[:, None], TOKENS, axis=1)
    task: Task[float] = noise_of({}, windows_WT)
    job: Any = next(task)
    while True:
        found = gradients(int(job.windows_WT[0, 0]))
        try:
            job = task.send(SlopeDone(1.0, {"a": np.array(found, np.float32)}))
        except StopIteration as stop:
            return stop.value


def test_gradients_that_agree_have_no_noise() -> None:
    assert scale(lambda _: [3.0, 4.0]) == 0.0


def test_the_scale_is_the_variance_over_the_squared_mean_in_tokens() -> None:
    rng = np.random.default_rng(1)
    noise_ND = rng.normal(0, 0.5, (400, 1000))
    # Mean 1 in the first of a thousand entries, a variance of 250 over all.
    found = scale(lambda index: [1.0 + noise_ND[index, 0], *noise_ND[index, 1:]])
    # By sixteen windows: the mean's own noise is 250 / 16, so that the estimate of 1 is rough.
    assert found == MOST_TIMES * TOKENS or found > 10 * TOKENS
    strong = scale(lambda index: [50.0 + noise_ND[index, 0], *noise_ND[index, 1:]])
    assert strong == pytest.approx(TOKENS * 250 / 50**2, rel=0.1)


def test_a_mean_that_cannot_be_told_from_zero_gives_the_most_that_is_reported() -> None:
    signs = np.random.default_rng(0).permutation(400)[:WINDOWS]
    above = set(signs[::2].tolist())
    assert scale(lambda index: [1.0 if index in above else -1.0]) == MOST_TIMES * TOKENS


def test_too_few_windows_tell_nothing() -> None:
    assert scale(lambda _: [1.0], windows=3) == 0.0


def test_a_learner_is_measured_and_not_changed(config: Callable[..., LearnerConfig]) -> None:
    learner = opened(config())
    before = learner.snapshot()
    windows_WT = load_text(learner.config, learner.shared.base).train_WT

    (found,) = together([(noise_of(learner.state, windows_WT), learner)])

    assert found > 0
    assert learner.snapshot() == before
