"""Fines, forgetting by halves, bans, and the bounds on all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peers.core.config import ScoreConfig
from peers.core.others.standing.scores import Scores


@pytest.fixture
def scores() -> Scores:
    return Scores(ScoreConfig())


def test_a_fine_is_forgotten_by_halves(scores: Scores) -> None:
    scores.fine("a", -16.0, 0.0)
    assert scores.score("a", 600.0) == pytest.approx(-8.0)
    assert scores.score("a", 1200.0) == pytest.approx(-4.0)


def test_nobody_else_is_touched(scores: Scores) -> None:
    scores.fine("a", -100.0, 0.0)
    assert scores.score("b", 0.0) == 0.0
    assert not scores.unwelcome("b", 0.0)


def test_small_fines_part_us_and_large_ones_ban(scores: Scores) -> None:
    scores.fine("a", -20.0, 0.0)
    assert scores.unwelcome("a", 0.0)
    assert not scores.banned("a", 0.0)
    assert not scores.unwelcome("a", 60.0)

    scores.fine("a", -40.0, 60.0)
    assert scores.banned("a", 60.0)


def test_a_ban_lasts_as_long_as_it_says_whatever_the_score(scores: Scores) -> None:
    scores.fine("a", -50.0, 0.0)
    assert scores.score("a", 43_199.0) > -1
    assert scores.banned("a", 43_199.0)
    assert not scores.banned("a", 43_200.0)


def test_a_fine_of_nothing_leaves_no_trace(scores: Scores) -> None:
    scores.fine("a", 0.0, 0.0)
    assert scores.rows() == ()


@pytest.mark.parametrize("amount", [1.0, float("nan")])
def test_a_reward_is_our_own_mistake(scores: Scores, amount: float) -> None:
    with pytest.raises(ValueError, match="a fine must not be positive"):
        scores.fine("a", amount, 0.0)


def test_standings_survive_a_restart(scores: Scores) -> None:
    scores.fine("a", -50.0, 100.0)
    again = Scores(ScoreConfig())
    again.restore(scores.rows())
    assert again.rows() == scores.rows()
    assert again.banned("a", 200.0)


def test_a_clock_set_back_by_years_does_not_ban_for_years() -> None:
    scores = Scores(ScoreConfig())
    years = 10 * 365 * 86_400.0
    scores.restore([("a", -60.0, years, years + 43_200.0)])

    assert scores.banned("a", 0.0)
    assert scores.score("a", 600.0) == pytest.approx(-30.0)
    assert not scores.unwelcome("a", 43_200.0)


def test_a_flood_of_fined_strangers_frees_nobody_who_is_banned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peers.core.others.standing.scores.MAX_PEERS", 100)
    scores = Scores(ScoreConfig())
    scores.fine("banned", -60.0, 0.0)
    for stranger in range(1000):
        scores.fine(f"stranger-{stranger}", -10.0, 6000.0)

    assert scores.score("banned", 6000.0) > -1
    assert scores.banned("banned", 6000.0)
    assert len(scores.rows()) <= 100


@given(st.lists(st.tuples(st.floats(-200, 0), st.floats(0, 1e9)), max_size=30))
def test_scores_stay_in_bounds(fines: list[tuple[float, float]]) -> None:
    scores = Scores(ScoreConfig())
    for amount, now_s in fines:
        scores.fine("a", amount, now_s)
        assert -100 <= scores.score("a", now_s) <= 0
        assert scores.banned("a", now_s) or scores.score("a", now_s) > -50


def test_thresholds_are_in_order() -> None:
    with pytest.raises(ValueError, match="ban_at <= disconnect_at"):
        ScoreConfig(ban_at=-10.0, disconnect_at=-20.0)
