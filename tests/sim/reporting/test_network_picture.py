"""Peers in the picture stand near whom they learn from."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sim.reporting.network_picture import places


def test_groups_that_trust_each_other_stand_together_however_they_are_dealt() -> None:
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
def test_everybody_has_a_place_of_their_own_in_the_square(count: int) -> None:
    points = places(np.full((count, count), 1 / max(count, 1)))
    assert len(set(points)) == count
    assert all(0 <= value <= 1 for point in points for value in point)


def test_the_same_weights_give_the_same_picture_and_unknown_ones_count_for_nothing() -> None:
    weights = np.random.default_rng(1).uniform(size=(7, 7))
    assert places(weights) == places(weights)
    weights[3] = np.nan
    assert np.isfinite(places(weights)).all()
