"""The order of the text: a pure function, so that a repeated round is the same round."""

from __future__ import annotations

import numpy as np

from gossipllm.config import TrainingConfig
from gossipllm.learning.jobs.batches import batches, drawn


def test_batches_are_a_function_of_seed_and_round() -> None:
    config = TrainingConfig(batch_windows=4, seed=1)
    first = batches(50, config, round_number=2, steps=5)

    assert np.array_equal(first, batches(50, config, round_number=2, steps=5))
    assert np.array_equal(first[:3], batches(50, config, round_number=2, steps=3))
    assert not np.array_equal(first, batches(50, config, round_number=1, steps=5))
    assert not np.array_equal(
        first, batches(50, TrainingConfig(batch_windows=4, seed=2), round_number=2, steps=5)
    )


def test_a_round_shows_every_window_once_before_it_repeats_one() -> None:
    seen = batches(20, TrainingConfig(batch_windows=5), round_number=0, steps=4)

    assert sorted(seen.ravel().tolist()) == list(range(20))


def test_text_that_is_read_once_goes_on_from_round_to_round_and_then_begins_again_in_another_order() -> None:
    config = TrainingConfig(batch_windows=5, order="once")
    rounds = [batches(20, config, round_number=turn, steps=2, taken=2 * turn) for turn in range(4)]

    first, second = (np.concatenate(rounds[turn : turn + 2]).ravel() for turn in (0, 2))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(20))
    assert not np.array_equal(first, second)


def test_a_round_that_is_repeated_after_a_restart_reads_the_same_text() -> None:
    config = TrainingConfig(batch_windows=5, order="once")

    assert np.array_equal(
        batches(20, config, round_number=7, steps=2, taken=3),
        batches(20, config, round_number=0, steps=5, taken=0)[3:],
    )


def test_a_batch_is_never_larger_than_the_text() -> None:
    rows = batches(3, TrainingConfig(batch_windows=8), round_number=0, steps=2)

    assert [sorted(row) for row in rows.tolist()] == [[0, 1, 2]] * 2


def test_windows_drawn_anew_repeat_and_differ_by_who_draws() -> None:
    first = drawn(16, 64, (0, 1, "a"))

    assert first.min() >= 0
    assert first.max() < 16
    assert len(set(first.tolist())) < 17
    assert not np.array_equal(first, drawn(16, 64, (0, 1, "b")))
