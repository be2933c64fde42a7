"""Robust rules that are weighted sums: closed forms on points, laws, and breakdown.

Points stand for adapters: their inner products are all that a rule reads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.learning.merging.averages import F64
from gossipllm.learning.merging.rules.reweighting import centred_clip, fltrust, geometric_median, krum

Rule = Callable[[F64, F64], F64]

CONVEX: tuple[Rule, ...] = (krum, geometric_median, centred_clip)
"""Rules whose coefficients are again a row."""
ALL: tuple[Rule, ...] = (*CONVEX, fltrust)

sizes = st.integers(2, 9)
seeds = st.integers(0, 10_000)


def coefficients(rule: Rule, points_KD: F64, row: F64 | None = None) -> F64:
    count = len(points_KD)
    return rule(points_KD @ points_KD.T, np.full(count, 1 / count) if row is None else row)


def result(rule: Rule, points_KD: F64, row: F64 | None = None) -> F64:
    return coefficients(rule, points_KD, row) @ points_KD


def on_a_line(*places: float) -> F64:
    return np.array([[place, 1.0] for place in places])


def drawn(seed: int, count: int) -> tuple[F64, F64]:
    rng = np.random.default_rng(seed)
    row = rng.uniform(0.05, 1, count)
    return rng.normal(size=(count, 3)), row / row.sum()


# -- closed forms ----------------------------------------------------------------------------------------


def test_krum_takes_the_point_with_the_nearest_neighbour_of_three() -> None:
    np.testing.assert_array_equal(coefficients(krum, on_a_line(0, 5, 6)), [0, 1, 0])


def test_krum_counts_as_many_neighbours_as_its_authors() -> None:
    """Seven points tolerate f = 2, so each counts its n - f - 2 = 3 nearest: scores by hand."""
    points = on_a_line(0, 1, 3, 4, 4.5, 20, 30)
    squares = (points[:, :1] - points[:, 0]) ** 2
    scores = np.sort(squares, axis=1)[:, 1:4].sum(axis=1)

    assert np.argmax(coefficients(krum, points)) == np.argmin(scores) == 2


def test_krum_of_two_keeps_ones_own() -> None:
    np.testing.assert_array_equal(coefficients(krum, on_a_line(0, 9)), [1, 0])


def test_krum_drops_whoever_is_alone_with_less_than_half_of_the_weight() -> None:
    points = on_a_line(100, 0, 1)
    np.testing.assert_array_equal(coefficients(krum, points, np.array([0.45, 0.3, 0.25])), [0, 1, 0])
    np.testing.assert_array_equal(coefficients(krum, points, np.array([0.55, 0.25, 0.2])), [1, 0, 0])


def test_the_geometric_median_of_three_points_on_a_line_is_the_one_between() -> None:
    np.testing.assert_allclose(result(geometric_median, on_a_line(0, 9, 2)), [2, 1], atol=1e-4)


def test_the_geometric_median_of_a_square_and_its_centre_is_the_centre() -> None:
    points = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1], [0, 0]])
    np.testing.assert_allclose(result(geometric_median, points), [0, 0], atol=1e-6)


def test_the_geometric_median_of_a_triangle_is_its_fermat_point() -> None:
    """Of an equilateral triangle with one corner moved out along its axis: every side is seen at 120 degrees."""
    points = np.array([[3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(result(geometric_median, points), [1 / np.sqrt(3), 0], atol=1e-6)


def test_the_geometric_median_is_where_most_of_the_weight_is() -> None:
    two = result(geometric_median, on_a_line(0, 9), np.array([0.4, 0.6]))
    np.testing.assert_allclose(two, [9, 1], atol=1e-4)


def test_equal_adapters_keep_their_weights() -> None:
    row = np.array([0.2, 0.3, 0.5])
    np.testing.assert_array_equal(coefficients(geometric_median, on_a_line(2, 2, 2), row), row)


def test_clipping_moves_by_at_most_the_median_distance() -> None:
    """From 0, at distances 1, 2 and 50: the radius is 2, so the third moves like one at 2."""
    row = np.array([0.4, 0.2, 0.2, 0.2])
    moved = result(centred_clip, on_a_line(0, 1, -2, 50), row)

    np.testing.assert_allclose(moved, [0.2 * 1 - 0.2 * 2 + 0.2 * 2, 1])


def test_a_peer_with_one_neighbour_does_not_clip_it() -> None:
    np.testing.assert_array_equal(
        coefficients(centred_clip, on_a_line(0, 9), np.array([0.7, 0.3])), [0.7, 0.3]
    )


def test_fltrust_gives_opposite_and_unrelated_directions_nothing() -> None:
    points = np.array([[2.0, 0], [-3, 0], [0, 5]])
    np.testing.assert_array_equal(result(fltrust, points), [2, 0])


def test_fltrust_brings_every_update_to_ones_own_size() -> None:
    """Cosines with (2, 0) are 1 and 0.6; both count with length 2."""
    points = np.array([[2.0, 0], [3e6, 4e6]])
    want = (1 * np.array([2.0, 0]) + 0.6 * np.array([1.2, 1.6])) / 1.6

    np.testing.assert_allclose(result(fltrust, points), want)


@pytest.mark.parametrize("own", [[0.0, 0.0], [1.0, 0.0]])
def test_fltrust_keeps_everything_where_nobody_has_a_direction(own: list[float]) -> None:
    points = np.array([own, [0.0, 0.0]])
    np.testing.assert_array_equal(coefficients(fltrust, points), [1, 0])


# -- laws ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", CONVEX)
@given(seed=seeds, count=sizes)
def test_coefficients_are_a_row(rule: Rule, seed: int, count: int) -> None:
    weights = coefficients(rule, *drawn(seed, count))

    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("rule", ALL)
@given(seed=seeds, count=sizes)
def test_the_order_of_neighbours_does_not_matter(rule: Rule, seed: int, count: int) -> None:
    points, row = drawn(seed, count)
    order = np.concatenate(([0], 1 + np.random.default_rng(seed).permutation(count - 1)))

    np.testing.assert_allclose(
        coefficients(rule, points[order], row[order]), coefficients(rule, points, row)[order], atol=1e-6
    )


@pytest.mark.parametrize("rule", ALL)
@given(seed=seeds, count=sizes)
def test_a_neighbour_of_weight_0_has_no_say(rule: Rule, seed: int, count: int) -> None:
    points, row = drawn(seed, count)
    more = np.concatenate((points, [[7.0, -7.0, 7.0]]))

    weights = coefficients(rule, more, np.append(row, 0.0))

    assert weights[-1] == 0
    np.testing.assert_allclose(weights[:-1], coefficients(rule, points, row), atol=1e-9)


@given(seed=seeds, count=sizes)
def test_a_weight_counts_as_copies_in_any_geometric_median(seed: int, count: int) -> None:
    points, _ = drawn(seed, count)
    copies = np.random.default_rng(seed).integers(1, 4, count)
    row = copies / copies.sum()

    together = result(geometric_median, points, row)
    apart = result(geometric_median, np.repeat(points, copies, axis=0))

    np.testing.assert_allclose(together, apart, atol=1e-3)


# -- breakdown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [krum, geometric_median])
@given(seed=seeds, honest=st.integers(3, 6))
def test_a_minority_at_a_million_stays_without_effect(rule: Rule, seed: int, honest: int) -> None:
    """n honest within a unit ball and n - 2 attackers at one place far away. The geometric median of weight a < 1/2
    outside is within 2 / (1 - 2 a) radii (Lopuhaa and Rousseeuw 1991); Krum's is an honest point."""
    points = np.random.default_rng(seed).normal(size=(honest, 3))
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1)
    attackers = np.full((honest - 2, 3), 1e6)
    away = len(attackers) / (honest + len(attackers))

    merged = result(rule, np.concatenate((points, attackers)))

    assert np.linalg.norm(merged) <= (1 if rule is krum else 2 / (1 - 2 * away)) + 1e-6


@given(seed=seeds, count=sizes)
def test_clipping_bounds_what_a_minority_can_do(seed: int, count: int) -> None:
    points, _ = drawn(seed, count)
    others = count - 1
    attackers = np.full(((others - 1) // 2, 3), 1e6)
    apart = np.linalg.norm(points[1:] - points[0], axis=1)

    merged = result(centred_clip, np.concatenate((points, attackers)))

    assert np.linalg.norm(merged - points[0]) <= apart.max() + 1e-3


@given(seed=seeds, count=sizes)
def test_fltrust_never_exceeds_ones_own_size(seed: int, count: int) -> None:
    points, row = drawn(seed, count)
    points[1:] *= 1e6

    assert np.linalg.norm(result(fltrust, points, row)) <= np.linalg.norm(points[0]) * (1 + 1e-9)
