"""Whom to fetch from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peers.core.others.partners import partners

WEIGHTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.floats(0, 1), max_size=40)


@given(WEIGHTS, st.integers(1, 8), st.integers(0, 8), st.integers(0, 100))
def test_they_are_few_and_known(weights: dict[str, float], most: int, explore: int, round_: int) -> None:
    chosen = partners(weights, me="me", round_=round_, most=most, explore=min(explore, most))
    assert len(chosen) == min(most, len(weights))
    assert chosen <= weights.keys()


def test_everybody_in_a_small_network() -> None:
    assert partners({"a": 0.0, "b": 0.0}, me="me", round_=0, most=16, explore=4) == {"a", "b"}


def test_the_most_useful_always_and_the_others_in_turn() -> None:
    weights = {"best": 0.5, "good": 0.3, **{f"peer{n}": 0.0 for n in range(10)}}
    rounds = [partners(weights, me="me", round_=round_, most=4, explore=2) for round_ in range(50)]

    assert all({"best", "good"} <= chosen for chosen in rounds)
    assert set().union(*rounds) == weights.keys()


def test_two_peers_draw_different_lots() -> None:
    weights = {f"peer{n}": 0.0 for n in range(40)}
    mine, yours = (partners(weights, me=me, round_=0, most=8, explore=4) for me in ("me", "you"))
    assert mine != yours
