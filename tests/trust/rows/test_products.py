"""Several kinds of evidence in one row, by hand."""

from __future__ import annotations

import math

import pytest

from trust.rows.evidence import Distance
from trust.rows.rows import Neighbour, TrustConfig, candidate_rows


def pair(first: float, second: float) -> Neighbour:
    return Neighbour("", "", (Distance(first, 0.0), Distance(second, 0.0)), (0.0, 0.0), 0)


def test_a_product_by_hand() -> None:
    config = TrustConfig(strategy="product", product_of=("predictions", "weights"), temperatures=(2.0,))
    # Medians 2 and 20, so distances 1/2, 1, 3/2 and 3/2, 1, 1/2; the peer is as near as the nearest: 1/2 and 1/2.
    (candidate,) = candidate_rows(config, [pair(1, 30), pair(2, 20), pair(3, 10)])
    weights = [math.exp(-z / 2) for z in (1.0, 2.0, 2.0, 2.0)]
    assert candidate.row == pytest.approx([weight / sum(weights) for weight in weights])


def test_in_a_product_losses_keep_the_peers_own_zero() -> None:
    config = TrustConfig(strategy="product", product_of=("weights", "validation"), temperatures=(1.0,))
    # Weights: median 1.5, peer at 1. Losses above the best (-1): 0 and 3, median 1.5; the peer is 1 above the best.
    (candidate,) = candidate_rows(config, [pair(1, -1), pair(2, 2)])
    weights = [math.exp(-z / 1.5) for z in (1 + 1, 1 + 0, 2 + 3)]
    assert candidate.row == pytest.approx([weight / sum(weights) for weight in weights])


def test_a_product_of_equal_evidence_is_the_row_at_half_the_temperature() -> None:
    distances = [Distance(mean, 0.0) for mean in (0.1, 0.4, 0.2)]
    singles = [Neighbour("", "", (one,), (0.0,), 0) for one in distances]
    twice = [Neighbour("", "", (one, one), (0.0, 0.0), 0) for one in distances]
    (single,) = candidate_rows(TrustConfig(temperatures=(1.0,)), singles)
    (both,) = candidate_rows(TrustConfig(strategy="product", temperatures=(2.0,)), twice)
    assert both.row == pytest.approx(single.row)


def test_distances_too_large_to_count_give_finite_weights() -> None:
    config = TrustConfig(strategy="product", product_of=("weights", "validation"))
    seen = [pair(1e-200, 1e100), pair(1e100, -1e100), pair(1e-200, 1e-300)]
    for candidate in candidate_rows(config, seen):
        assert math.fsum(candidate.row) == pytest.approx(1)
