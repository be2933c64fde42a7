"""The median and the trimmed mean, number by number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.learning.merging.averages import F64
from gossipllm.learning.merging.rules.coordinates import median, trimmed_mean

Rule = Callable[[F64, F64], F64]

seeds = st.integers(0, 10_000)
counts = st.integers(1, 9)


def column(*values: float) -> F64:
    return np.array(values, np.float64)[:, None]


def equal(count: int) -> F64:
    return np.full(count, 1 / count)


@given(seed=seeds, count=counts)
def test_the_median_by_equal_weights_is_the_ordinary_one(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).normal(size=(count, 4))
    np.testing.assert_allclose(median(values, equal(count)), np.median(values, axis=0))


@given(seed=seeds, count=st.sampled_from([4, 8, 12]))
def test_the_trimmed_mean_by_equal_weights_is_that_of_the_middle_half(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).normal(size=(count, 4))
    middle = np.sort(values, axis=0)[count // 4 : -(count // 4)]
    np.testing.assert_allclose(trimmed_mean(values, equal(count)), middle.mean(axis=0))


def test_of_three_the_trimmed_mean_counts_the_middle_in_full_and_the_ends_by_their_rest() -> None:
    """A third of the weight each; a quarter is cut at either end: a twelfth, a third and a twelfth of a half stay."""
    assert trimmed_mean(column(0, 6, 18), equal(3)) == pytest.approx((6 * 4 + 18) / 6)


def test_whoever_has_more_than_half_of_the_weight_is_the_median() -> None:
    row = np.array([0.55, 0.3, 0.15])
    assert median(column(2, 90, -4), row) == 2


@pytest.mark.parametrize("rule", [median, trimmed_mean])
def test_values_of_weight_0_have_no_say(rule: Rule) -> None:
    with_it = rule(column(1, 2, 5, 1e30), np.array([0.25, 0.25, 0.5, 0.0]))
    np.testing.assert_array_equal(with_it, rule(column(1, 2, 5), np.array([0.25, 0.25, 0.5])))


@given(seed=seeds, honest=st.integers(3, 6))
def test_a_minority_at_a_million_leaves_the_median_within_the_others(seed: int, honest: int) -> None:
    values = np.random.default_rng(seed).normal(size=(honest, 5))
    attacked = np.concatenate((values, np.full((honest - 1, 5), 1e6)))

    merged = median(attacked, equal(len(attacked)))

    assert ((values.min(axis=0) <= merged) & (merged <= values.max(axis=0))).all()


@given(seed=seeds, honest=st.integers(3, 9))
def test_a_quarter_at_a_million_leaves_the_trimmed_mean_within_the_others(seed: int, honest: int) -> None:
    values = np.random.default_rng(seed).normal(size=(honest, 5))
    attacked = np.concatenate((values, np.full((honest // 3, 5), 1e6)))

    merged = trimmed_mean(attacked, equal(len(attacked)))

    assert (merged >= values.min(axis=0) - 1e-9).all()
    assert (merged <= values.max(axis=0) + 1e-9).all()


@pytest.mark.parametrize("rule", [median, trimmed_mean])
@given(seed=seeds, count=counts)
def test_the_order_of_peers_does_not_matter(rule: Rule, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    values, row, order = rng.normal(size=(count, 4)), rng.dirichlet(np.ones(count)), rng.permutation(count)
    np.testing.assert_allclose(rule(values[order], row[order]), rule(values, row), atol=1e-9)
