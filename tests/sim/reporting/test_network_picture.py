"""The layout of the network: peers that trust each other stand close together."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sim.reporting.network_picture import places


def test_groups_that_trust_each_other_stand_together_in_any_order_of_peers() -> None:
    groups = [0, 1, 2] * 3
    weights = np.array([[1 / 3 if a == b else 0.0 for b in groups] for a in groups])
    points = places(weights)
    apart = {
        kind: [
            math.dist(points[i], points[j])
            for i, j in itertools.combinations(range(9), 2)
            if (groups[i] == groups[j]) is kind
        ]
        for kind in (True, False)
    }
    assert max(apart[True]) < min(apart[False])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20, 100])
def test_every_peer_has_a_separate_place_in_the_square(count: int) -> None:
    points = places(np.full((count, count), 1 / max(count, 1)))
    assert len(set(points)) == count
    assert all(0 <= value <= 1 for point in points for value in point)


def test_equal_weights_give_equal_pictures_and_nan_counts_as_zero() -> None:
    weights = np.random.default_rng(1).uniform(size=(7, 7))
    assert places(weights) == places(weights)
    weights[3] = np.nan
    assert np.isfinite(places(weights)).all()
