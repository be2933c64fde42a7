"""Importance of layers: smoothed, combined, with a bonus; and the block windows that it chooses."""

from __future__ import annotations

import math
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.rows.units.importance import (
    Softmax,
    combined,
    drawn_window,
    round_robin,
    smoothed,
    window_probabilities,
    with_bonus,
)

FLOAT32_MAX = 3.4028234663852886e38

claimed = st.none() | st.floats(0, FLOAT32_MAX, width=32)
"""What a neighbour may say of a layer."""


def vectors(layers: int) -> st.SearchStrategy[list[float | None]]:
    return st.lists(claimed, min_size=layers, max_size=layers)


def windows(
    *importance: float | None,
    window: int = 1,
    temperature: float = 1.0,
    floor: float = 0.0,
    softmax: Softmax = "standardised",
) -> tuple[float, ...]:
    return window_probabilities(
        importance, window=window, temperature=temperature, floor=floor, softmax=softmax
    )


def test_a_running_mean_begins_with_the_first_measurement_and_waits_for_the_next() -> None:
    assert smoothed((None, 4.0, 4.0, None), (2.0, 8.0, None, None), keep=0.75) == (2.0, 5.0, 4.0, None)


def test_the_mean_is_over_the_peers_that_measured_the_layer() -> None:
    # In units of their means: (1/2, 3/2, -), (-, 1/2, 3/2).
    row = combined((1.0, 3.0, None, None), [(None, 10.0, 30.0, None)], (0.75, 0.25))
    assert row == pytest.approx((0.5, 0.75 * 1.5 + 0.25 * 0.5, 1.5, None))


def test_a_peer_without_weight_does_not_count() -> None:
    assert combined((2.0, None), [(1.0, 5.0)], (1.0, 0.0)) == (1.0, None)
    assert combined((2.0, None), [], (1.0,)) == (1.0, None)


def test_a_layer_that_one_peer_measured_has_its_importance() -> None:
    assert combined((None,) * 3, [(1.0, 2.0, 3.0), (None,) * 3], (0.5, 0.1, 0.4)) == pytest.approx(
        (0.5, 1, 1.5)
    )


@given(st.data(), st.integers(1, 6), st.integers(-60, 60))
def test_the_scale_of_a_claim_does_not_matter(data: st.DataObject, layers: int, power: int) -> None:
    own = data.draw(vectors(layers))
    theirs = data.draw(st.lists(st.none() | st.floats(1e-9, 1e9), min_size=layers, max_size=layers))
    scaled = [None if value is None else math.ldexp(value, power) for value in theirs]
    assert combined(own, [scaled], (0.5, 0.5)) == combined(own, [theirs], (0.5, 0.5))


@given(st.data(), st.integers(1, 6), st.floats(0, 1))
def test_no_claim_moves_a_layer_by_more_than_its_trust_times_the_layers(
    data: st.DataObject, layers: int, trust: float
) -> None:
    own = data.draw(st.lists(st.floats(0, 1e9), min_size=layers, max_size=layers))
    alone = combined(own, [], (1.0,))
    together = combined(own, [data.draw(vectors(layers))], (1 - trust, trust))
    for before, after in zip(alone, together, strict=True):
        if before is not None and after is not None and trust < 1:
            assert abs(after - before) <= trust * layers + 1e-9


def test_all_zeros_say_that_layers_are_alike() -> None:
    assert combined((0.0, 0.0, None), [], (1.0,)) == (1.0, 1.0, None)


def test_layers_seldom_measured_gain_in_units_of_the_spread() -> None:
    # Known are 1 and 3: mean 2, standard deviation 1.
    bonus = math.sqrt(math.log(10))
    value = with_bonus((1.0, 3.0, None), (8, 3, 0), rounds=9, scale=0.5)
    assert value == pytest.approx((1 + bonus / 6, 3 + bonus / 4, 2 + bonus / 2))


def test_among_equal_layers_the_unmeasured_come_first() -> None:
    seen, again, never = with_bonus((7.0, 7.0, None), (1, 2, 0), rounds=3, scale=1.0)
    assert seen is not None
    assert again is not None
    assert never is not None
    assert again < seen < never


def test_without_anything_known_or_any_round_there_is_no_bonus() -> None:
    assert with_bonus((None, None), (0, 0), rounds=5, scale=1.0) == (None, None)
    assert with_bonus((1.0, 3.0), (0, 0), rounds=0, scale=1.0) == (1.0, 3.0)


def test_windows_by_hand() -> None:
    # Sums of two: 1, 3, 5, whose mean is 3 and whose standard deviation is sqrt(8/3).
    weights = [math.exp(z / 2) for z in (-math.sqrt(1.5), 0, math.sqrt(1.5))]
    expected = [0.8 * weight / sum(weights) + 0.2 / 3 for weight in weights]
    assert windows(0, 1, 2, 3, window=2, temperature=2.0, floor=0.2) == pytest.approx(expected)


def test_plain_windows_by_hand_are_the_softmax_of_the_sums_as_in_leff() -> None:
    # Sums of two: 1, 3, 5, neither centred nor scaled.
    weights = [math.exp(1), math.exp(3), math.exp(5)]
    expected = [weight / sum(weights) for weight in weights]
    assert windows(0, 1, 2, 3, window=2, softmax="plain") == pytest.approx(expected)
    # A temperature and a floor are ours.
    warm = [math.exp(1 / 2), math.exp(3 / 2), math.exp(5 / 2)]
    mixed = [0.8 * weight / sum(warm) + 0.2 / 3 for weight in warm]
    assert windows(0, 1, 2, 3, window=2, softmax="plain", temperature=2.0, floor=0.2) == pytest.approx(mixed)


def test_the_plain_softmax_depends_on_the_unit_of_importance_and_overflows_in_none() -> None:
    assert windows(1e-8, 2e-8, 4e-8, softmax="plain") == pytest.approx((1 / 3,) * 3, rel=1e-7)
    assert windows(1e3, 2e3, 4e3, softmax="plain") == (0.0, 0.0, 1.0)
    assert windows(0.5, 0.5, softmax="plain") == (0.5, 0.5)


@given(st.data(), st.integers(1, 8), st.floats(0.001, 1000), st.floats(0, 1))
def test_windows_are_a_distribution_above_its_floor_whatever_is_claimed(
    data: st.DataObject, layers: int, temperature: float, floor: float
) -> None:
    window = data.draw(st.integers(1, layers))
    counts = data.draw(st.lists(st.integers(0, 99), min_size=layers, max_size=layers))
    known = with_bonus(
        combined(data.draw(vectors(layers)), [data.draw(vectors(layers))], (0.3, 0.7)),
        counts,
        rounds=sum(counts),
        scale=1.0,
    )
    softmax: Softmax = data.draw(st.sampled_from(get_args(Softmax)))
    for importance in (known, data.draw(vectors(layers))):
        p = window_probabilities(
            importance, window=window, temperature=temperature, floor=floor, softmax=softmax
        )
        assert len(p) == layers - window + 1
        assert math.fsum(p) == pytest.approx(1, abs=1e-12)
        assert all(chance >= floor / len(p) * (1 - 1e-12) for chance in p)


def test_equal_windows_are_equally_likely() -> None:
    assert windows(0.1, 0.1, 0.1) == (1 / 3,) * 3
    assert windows(0.1, 0.7, 0.1, 0.7, window=2) == (1 / 3,) * 3
    assert windows(None, None) == (0.5, 0.5)
    assert windows(0.0, 0.0) == (0.5, 0.5)
    # 0.3 and 0.1 + 0.2 differ by rounding only.
    assert windows(0.3, 0.1 + 0.2) == (0.5, 0.5)


def test_an_unknown_layer_counts_as_the_mean() -> None:
    assert windows(1.0, None, 3.0) == windows(1.0, 2.0, 3.0)


def test_the_unit_of_importance_does_not_matter() -> None:
    assert windows(1e-40, 2e-40, 4e-40) == pytest.approx(windows(1e30, 2e30, 4e30))


def test_a_low_temperature_takes_the_most_important_window() -> None:
    assert windows(1.0, 2.0, 4.0, temperature=0.001) == (0.0, 0.0, 1.0)


def test_all_layers_are_one_window() -> None:
    assert windows(1.0, None, 3.0, window=3) == (1.0,)


def test_draws_follow_the_distribution_and_never_hit_probability_zero() -> None:
    probabilities = (0.0, 0.25, 0.0, 0.75, 0.0)
    drawn = Counter(drawn_window(probabilities, draw / 1000) for draw in range(1000))
    assert drawn == {1: 250, 3: 750}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9).filter(any), st.floats(0, 1, exclude_max=True))
def test_every_draw_has_a_window_even_where_rounding_leaves_a_gap(weights: list[float], draw: float) -> None:
    whole = math.fsum(weights)
    probabilities = [weight / whole for weight in weights]
    assert probabilities[drawn_window(probabilities, draw)] > 0
    assert probabilities[drawn_window(probabilities, math.nextafter(1, 0))] > 0


def test_round_robin_trains_every_block_window() -> None:
    assert [round_robin(number, 3) for number in range(5)] == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_an_invalid_importance_is_refused(bad: float) -> None:
    for call in (
        lambda: smoothed((1.0,), (bad,), keep=0.5),
        lambda: combined((1.0,), [(bad,)], (0.5, 0.5)),
        lambda: with_bonus((bad,), (0,), rounds=1, scale=1.0),
        lambda: windows(bad),
    ):
        with pytest.raises(ValueError, match="importance must be in"):
            call()


def test_a_wrong_argument_is_named() -> None:
    for says, call in (
        ("keep must be", lambda: smoothed((1.0,), (1.0,), keep=1.0)),
        ("importance must be of 1 layers, got 2", lambda: smoothed((1.0,), (1.0, 2.0), keep=0.5)),
        ("weights must be 2, one for each", lambda: combined((1.0,), [(1.0,)], (1.0,))),
        ("weights must be in", lambda: combined((1.0,), [], (math.nan,))),
        ("importance must be of 1 layers", lambda: combined((1.0,), [(1.0, 2.0)], (0.5, 0.5))),
        ("counts must be 1", lambda: with_bonus((1.0,), (), rounds=1, scale=1.0)),
        ("counts and rounds", lambda: with_bonus((1.0,), (-1,), rounds=1, scale=1.0)),
        ("scale must be", lambda: with_bonus((1.0,), (1,), rounds=1, scale=math.inf)),
        ("window must be in 1..2", lambda: windows(1.0, 2.0, window=3)),
        ("temperature must be", lambda: windows(1.0, temperature=0.0)),
        ("floor must be", lambda: windows(1.0, floor=1.1)),
        ("draw must be", lambda: drawn_window((1.0,), 1.0)),
        ("probabilities must", lambda: drawn_window((0.0,), 0.5)),
        ("windows must be", lambda: round_robin(1, 0)),
    ):
        with pytest.raises(ValueError, match=says):
            call()
