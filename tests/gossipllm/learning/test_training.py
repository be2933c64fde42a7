"""The schedule and the order of the text: pure functions, so that a repeated round is the same round."""

from __future__ import annotations

import numpy as np
import pytest

from gossipllm.config import TrainingConfig
from gossipllm.learning.training import batch, rate


def test_a_batch_is_a_function_of_seed_round_and_step() -> None:
    config = TrainingConfig(batch_windows=4, seed=1)
    first = batch(50, config, round_number=2, step=3)

    assert np.array_equal(first, batch(50, config, round_number=2, step=3))
    for other in ((1, 3), (2, 4)):
        assert not np.array_equal(first, batch(50, config, round_number=other[0], step=other[1]))
    assert not np.array_equal(
        first, batch(50, TrainingConfig(batch_windows=4, seed=2), round_number=2, step=3)
    )


def test_a_round_shows_every_window_once_before_it_repeats_one() -> None:
    config = TrainingConfig(batch_windows=5)

    seen = np.concatenate([batch(20, config, round_number=0, step=step) for step in range(4)])

    assert sorted(seen.tolist()) == list(range(20))


def test_a_batch_is_never_larger_than_the_text() -> None:
    assert sorted(batch(3, TrainingConfig(batch_windows=8), round_number=0, step=7).tolist()) == [0, 1, 2]


def test_the_rate_rises_then_stays() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=4)

    assert [rate(step, config) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_a_decaying_rate_ends_at_a_tenth_and_stays_there() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=2, decay_steps=12)

    assert rate(2, config) == 1.0
    assert rate(7, config) == pytest.approx(0.55), "half of the cosine"
    assert rate(12, config) == rate(100, config) == pytest.approx(0.1)
