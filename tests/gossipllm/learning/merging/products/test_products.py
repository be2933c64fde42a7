"""Laws and closed forms of mixing low-rank products. s = alpha / rank scales an adapter's update s B A."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.learning.merging.products.products import Pair, Products

ALPHA = 8.0
OUTPUTS, INPUTS = 24, 40


def factors(seed: int, *, rank: int = 4, shared_a: bool = False) -> Pair:
    rng, common = np.random.default_rng(seed), np.random.default_rng(99)
    a = (common if shared_a else rng).uniform(-1, 1, (rank, INPUTS)) / INPUTS**0.5
    return a.astype(np.float32), rng.normal(0, 0.05, (OUTPUTS, rank)).astype(np.float32)


def products(pairs: list[Pair]) -> Products:
    """Of two modules, which are mixed together: the pairs, and they with their outputs turned round."""
    return Products([pairs, [(a, b[::-1]) for a, b in pairs]], [ALPHA / len(a) for a, _ in pairs])


def product(pair: Pair) -> np.ndarray:
    a, b = pair[0].astype(np.float64), pair[1].astype(np.float64)
    return ALPHA / a.shape[0] * b @ a


def mixture(row: list[float], pairs: list[Pair]) -> np.ndarray:
    return np.sum([w * product(pair) for w, pair in zip(row, pairs, strict=True)], axis=0)


@given(seed=st.integers(0, 1000), parts=st.lists(st.floats(0.05, 1), min_size=2, max_size=5))
def test_svd_is_the_best_approximation_that_the_rank_allows(seed: int, parts: list[float]) -> None:
    row = [part / sum(parts) for part in parts]
    pairs = [factors(seed + j, rank=4 if j == 0 else 3 + j) for j in range(len(row))]

    (merged, turned), missed = products(pairs).svd(np.array([row]))

    u, sigma, vt = np.linalg.svd(mixture(row, pairs), full_matrices=False)
    best = (u[:, :4] * sigma[:4]) @ vt[:4]
    assert np.abs(product(merged) - best).max() < 1e-5 * sigma[0]
    assert np.abs(product(turned)[::-1] - best).max() < 1e-5 * sigma[0]
    assert missed.share == pytest.approx(((sigma[4:] ** 2).sum() / (sigma**2).sum()) ** 0.5, abs=1e-6)


def test_the_average_misses_the_mixture_by_the_weighted_covariance_of_the_factors() -> None:
    pairs, row = [factors(0), factors(1), factors(2)], [0.5, 0.3, 0.2]

    (merged, _), missed = products(pairs).averaged(np.array([row]))

    for mean, values in zip(merged, zip(*pairs, strict=True), strict=True):
        np.testing.assert_allclose(mean, sum(w * v for w, v in zip(row, values, strict=True)), atol=1e-7)
    exact = mixture(row, pairs)
    lost = np.linalg.norm(exact - product(merged)) / np.linalg.norm(exact)
    assert missed.share == pytest.approx(lost, rel=1e-5)


@pytest.mark.parametrize("ranks", [(2, 4, 3), (4, 2, 7)])
def test_the_average_of_unequal_ranks_says_what_it_misses(ranks: tuple[int, ...]) -> None:
    pairs, row = [factors(j, rank=rank) for j, rank in enumerate(ranks)], [0.5, 0.3, 0.2]

    (merged, _), missed = products(pairs).averaged(np.array([row]))

    exact = mixture(row, pairs)
    lost = np.linalg.norm(exact - product(merged)) / np.linalg.norm(exact)
    assert missed.share == pytest.approx(lost, rel=1e-5)


@pytest.mark.parametrize("chosen", [0, 1])
def test_all_weight_on_one_gives_its_product(chosen: int) -> None:
    pairs = [factors(0), factors(1)]

    (merged, _), missed = products(pairs).svd(np.eye(2)[[chosen]])

    np.testing.assert_allclose(product(merged), product(pairs[chosen]), atol=1e-6)
    assert missed.share < 1e-6


def test_adapters_that_share_a_keep_it_and_average_b() -> None:
    row = [0.5, 0.25, 0.25]
    pairs = [factors(j, shared_a=True) for j in range(3)]

    ((a, b), _), missed = products(pairs).svd(np.array([row]))

    np.testing.assert_allclose(a, pairs[0][0], atol=1e-6)
    np.testing.assert_allclose(b, sum(w * b for w, (_, b) in zip(row, pairs, strict=True)), atol=1e-6)
    assert missed.share < 1e-6


def test_a_small_change_of_the_neighbour_moves_the_factors_a_little() -> None:
    """AdamW's moments belong to coordinates, so coordinates must not turn where the update did not."""
    own, rng = factors(0), np.random.default_rng(5)
    near = tuple((v + rng.normal(0, 1e-4, v.shape)).astype(np.float32) for v in own)

    (merged, _), _ = products([own, (near[0], near[1])]).svd(np.array([[0.5, 0.5]]))

    assert max(np.abs(new - old).max() for new, old in zip(merged, own, strict=True)) < 2e-3


def test_adapters_that_learnt_nothing_keep_a_alive() -> None:
    pairs = [(a, np.zeros_like(b)) for a, b in (factors(0, shared_a=True), factors(1, shared_a=True))]

    ((a, b), _), missed = products(pairs).svd(np.array([[0.5, 0.5]]))

    np.testing.assert_allclose(a, pairs[0][0], atol=1e-6)
    assert not b.any()
    assert missed.share == 0


def test_a_neighbour_whose_a_has_nothing_in_common_leaves_both_factors_of_usable_size() -> None:
    own, other = factors(0), factors(1)
    own[0][:, INPUTS // 2 :] = 0
    other[0][:, : INPUTS // 2] = 0

    (merged, _), _ = products([own, other]).svd(np.array([[0.0, 1.0]]))

    np.testing.assert_allclose(product(merged), product(other), atol=1e-6)
    assert np.linalg.cond(merged[0]) < 100


def test_ranks_above_the_width_are_mixed_too() -> None:
    pairs = [(a[:, :3], b[:2]) for a, b in (factors(0), factors(1))]

    (merged, _), _ = products(pairs).svd(np.array([[0.5, 0.5]]))

    np.testing.assert_allclose(product(merged), mixture([0.5, 0.5], pairs), atol=1e-6)
