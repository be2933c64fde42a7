"""BALANCE and UBAR: who is accepted, and what the accepted get."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.rows.baselines.robust import balance_weights, relative_distance, ubar_weights
from trust.rows.evidence import MAX_DISTANCE, Distance, Neighbour
from trust.rows.rows import TrustConfig, candidate_rows

distances = st.floats(0, 1e6)
losses = st.floats(-5, 5)


def neighbours(*measures: tuple[float, ...], at_round: int = 0) -> list[Neighbour]:
    return [
        Neighbour(
            f"p{k}", f"p{k}", tuple(Distance(one, 0) for one in each), (0.0,) * len(each), 0, round=at_round
        )
        for k, each in enumerate(measures)
    ]


def balance(*apart: float, at_round: int = 0, reach: float = 2.0, decay: float = 0.1) -> list[float]:
    return balance_weights(
        neighbours(*((one,) for one in apart), at_round=at_round), reach=reach, decay=decay
    )


def test_balance_accepts_within_the_ball_and_its_surface() -> None:
    assert balance(1.0, 2.0, 2.1) == [0.5, 0.25, 0.25, 0]


def test_the_ball_of_balance_shrinks_with_the_rounds() -> None:
    assert balance(1.0, 1.9, at_round=0) == [0.5, 0.25, 0.25]
    assert balance(1.0, 1.9, at_round=1) == [0.5, 0.5, 0]
    assert balance(1.0, 1.9, at_round=7) == [1, 0, 0]
    assert balance(1.0, 1.9, at_round=7, decay=0.0) == [0.5, 0.25, 0.25]


def test_ubar_drops_whoever_is_far_however_good_and_whoever_does_worse_however_near() -> None:
    near_and_better, near_and_worse, near_and_equal = (0.1, -0.2), (0.2, 0.01), (0.3, 0.0)
    far = [(4.0, -9.0), (5.0, -9.0), (6.0, -9.0)]

    weights = ubar_weights(neighbours(near_and_better, near_and_worse, near_and_equal, *far))

    assert weights == [0.5, 0.25, 0, 0.25, 0, 0, 0]


def test_ubar_keeps_everything_where_all_near_ones_do_worse() -> None:
    assert ubar_weights(neighbours((0.1, 1.0), (9.0, -1.0))) == [1, 0, 0]


def test_ubar_looks_at_a_single_neighbour() -> None:
    assert ubar_weights(neighbours((3.0, -1.0))) == [0.5, 0.5]


@given(measures=st.lists(st.tuples(distances, losses), min_size=1, max_size=9))
@pytest.mark.parametrize("strategy", ["balance", "ubar"])
def test_robust_strategies_make_rows_in_any_order_of_neighbours(
    strategy: str, measures: Sequence[tuple[float, float]]
) -> None:
    some = neighbours(*(each[: 1 if strategy == "balance" else 2] for each in measures))
    order = random.Random(7).sample(range(len(some)), len(some))

    (one,) = candidate_rows(TrustConfig(strategy=strategy), some)
    (other,) = candidate_rows(TrustConfig(strategy=strategy), [some[k] for k in order])

    assert math.isclose(math.fsum(one.row), 1)
    assert other.row[0] == one.row[0]
    assert other.row[1:] == tuple(one.row[1 + k] for k in order)


def test_relative_distances_are_in_times_ones_own_size() -> None:
    """(3, 4) and (0, 8), (3, 4), and (-3, -4)."""
    assert relative_distance(25, 64, 32).mean == pytest.approx(1)
    assert relative_distance(25, 25, 25).mean == 0
    assert relative_distance(25, 25, -25).mean == 2


def test_a_zero_update_is_infinitely_far_from_any_other() -> None:
    assert relative_distance(0, 4, 0).mean == MAX_DISTANCE
    assert relative_distance(0, 0, 0).mean == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_updates_that_are_not_finite_have_no_distance(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        relative_distance(1, bad, 0)
