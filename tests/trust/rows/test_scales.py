"""Distances across tokenizers have a scale of their own, in which the distance of the bases does not show."""

from __future__ import annotations

import pytest

from trust.rows.evidence import Distance, Neighbour
from trust.rows.rows import TrustConfig, candidate_rows

TRUST = TrustConfig(strategy="predictions", temperatures=(1.0,), age_decay=0.0)


def row(*neighbours: tuple[float, str], error: float = 0.0) -> tuple[float, ...]:
    """The weights of neighbours at these distances, each of one scale."""
    (candidate,) = candidate_rows(
        TRUST,
        [
            Neighbour(f"peer{index}", "", (Distance(mean, error),), (0.0,), 0, scale=scale)
            for index, (mean, scale) in enumerate(neighbours)
        ],
    )
    return candidate.row[1:]


def test_what_all_distances_of_a_base_have_in_common_changes_no_weight() -> None:
    near = row((0.25, "base"), (0.5, "base"), (0.75, "base"))
    far = row((0.5, "base"), (0.75, "base"), (1.0, "base"))

    assert far == pytest.approx(near)
    assert near[0] > 2 * near[2]


def test_each_base_has_a_scale_of_its_own_and_so_have_our_own_peers() -> None:
    alone = row((0.1, ""), (0.3, ""))
    mixed = row((0.1, ""), (0.3, ""), (0.25, "one"), (0.5, "one"), (0.75, "other"), (1.0, "other"))

    assert mixed[0] / mixed[1] == pytest.approx(alone[0] / alone[1])
    assert mixed[2] == pytest.approx(mixed[4])
    assert mixed[3] == pytest.approx(mixed[5])
    assert mixed[0] == pytest.approx(mixed[2]), "the nearest of each count alike"


def test_neighbours_that_differ_by_less_than_the_noise_weigh_nearly_the_same() -> None:
    quiet = row((0.500, "base"), (0.501, "base"), (0.502, "base"))
    noisy = row((0.500, "base"), (0.501, "base"), (0.502, "base"), error=0.02)

    assert quiet[0] > 2 * quiet[2]
    assert noisy[0] < 1.2 * noisy[2]


def test_one_neighbour_of_a_base_counts_as_the_nearest() -> None:
    assert row((0.9, "base")) == pytest.approx((0.5,))
