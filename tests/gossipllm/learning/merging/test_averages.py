"""Means over windows, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from gossipllm.learning.merging.averages import mean_loss, standard_error, weights_of

LOSSES = np.array([1.0, 2.0, 4.0], np.float32)


def windows(*bearing: int) -> np.ndarray:
    """Of six tokens, of which so many targets bear loss."""
    made = np.full((len(bearing), 6), ~7, np.int32)
    for row, count in zip(made, bearing, strict=True):
        row[1 : count + 1] = 7
    return made


def test_windows_count_as_their_tokens_or_alike() -> None:
    uneven = windows(1, 3, 0)

    assert mean_loss(LOSSES, weights_of(uneven, "tokens")) == pytest.approx((1 + 3 * 2) / 4)
    assert mean_loss(LOSSES, weights_of(uneven, "sequences")) == pytest.approx(1.5), "one has nothing to say"


def test_full_windows_have_the_plain_mean_to_the_last_bit() -> None:
    assert weights_of(windows(5, 5, 5), "tokens") is None
    assert weights_of(windows(5, 2, 5), "sequences") is None
    assert mean_loss(LOSSES, None) == float(LOSSES.mean(dtype=np.float64))


def test_equal_weights_have_the_plain_standard_error() -> None:
    assert standard_error(LOSSES, np.full(3, 9.0)) == pytest.approx(standard_error(LOSSES, None))


def test_the_error_of_a_weighted_mean_is_what_repeated_draws_show() -> None:
    rng = np.random.default_rng(0)
    weights = rng.uniform(1, 5, (400, 200))
    losses = rng.normal(2.0, 1.0, (400, 200)).astype(np.float32)

    means = [mean_loss(one, weight) for one, weight in zip(losses, weights, strict=True)]
    errors = [standard_error(one, weight) for one, weight in zip(losses, weights, strict=True)]

    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)
