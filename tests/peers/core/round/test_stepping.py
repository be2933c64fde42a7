"""Tests of how many steps a round takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peers.core.config import RoundConfig
from peers.core.round.stepping import MOST_TIMES, round_steps
from peers.core.saved import LocalSteps


def last(steps: int, seconds: float) -> LocalSteps:
    return LocalSteps(tokens=0, samples=0, steps=steps, train_loss=0.0, trust_loss=0.0, seconds=seconds)


def test_without_a_time_every_round_takes_the_configured_steps() -> None:
    assert round_steps(RoundConfig(steps=7), last(20, 1.0)) == 7


def test_the_first_round_takes_the_configured_steps_and_says_the_pace() -> None:
    assert round_steps(RoundConfig(steps=7, seconds=60.0), None) == 7
    assert round_steps(RoundConfig(steps=7, seconds=60.0), last(7, 30.0)) == 14


def test_a_round_that_took_no_steps_or_no_time_says_nothing() -> None:
    config = RoundConfig(steps=7, seconds=60.0)
    assert round_steps(config, last(0, 3.0)) == 7
    assert round_steps(config, last(5, 0.0)) == 7


def test_a_pace_that_jumps_is_followed_in_a_few_rounds() -> None:
    assert round_steps(RoundConfig(steps=1, seconds=1000.0), last(10, 0.001)) == 10 * MOST_TIMES


@given(st.integers(1, 100_000), st.floats(1e-9, 1e6), st.floats(1e-3, 86_400))
def test_steps_fit_into_the_time_but_for_the_one_that_a_round_has_at_least(
    steps: int, took_s: float, seconds: float
) -> None:
    taken = round_steps(RoundConfig(seconds=seconds), last(steps, took_s))
    assert 1 <= taken <= 100_000
    assert taken == 1 or taken * took_s / steps <= (seconds + 0.25 * took_s / steps) * (1 + 1e-12)
