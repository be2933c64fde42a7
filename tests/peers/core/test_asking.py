"""When a peer whom nobody helps stops asking, and what makes it ask again."""

from __future__ import annotations

import itertools

from peers.core.asking import LEAST_PAUSE, LONGEST_PAUSE, Asking


def asked_in(rounds: int, *, patience: int = 2, newcomers: bool = False) -> list[int]:
    """The rounds of a peer whom nobody helps in which it asks; with `newcomers` one comes in every round."""
    state, asked = Asking(), list[int]()
    for number in range(rounds):
        state = state.roused() if newcomers else state
        if state.waits:
            state = state.paused()
        else:
            asked.append(number)
            state = state.asked(merged=False, patience=patience)
    return asked


def test_pauses_double() -> None:
    assert asked_in(40) == [0, 1, 6, 15, 32]


def test_no_pause_is_longer_than_the_longest() -> None:
    asked = asked_in(1000)
    assert max(later - sooner for sooner, later in itertools.pairwise(asked)) == LONGEST_PAUSE + 1


def test_a_merge_begins_the_count_anew() -> None:
    paused = Asking().asked(merged=False, patience=1)
    assert paused.waits == LEAST_PAUSE
    assert paused.asked(merged=True, patience=1) == Asking()


def test_a_newcomer_ends_a_pause_but_is_not_asked_at_once() -> None:
    state = Asking(fruitless=4, pauses=4, waits=30, rested=1)
    assert state.roused().waits == LEAST_PAUSE - 1
    assert Asking(fruitless=4, pauses=4, waits=30, rested=9).roused().waits == 0


def test_a_newcomer_that_does_not_help_yet_is_asked_again_soon() -> None:
    state = Asking(fruitless=4, pauses=4, waits=30, rested=9).roused()
    assert state.asked(merged=False, patience=2).waits == LEAST_PAUSE


def test_a_newcomer_does_not_prolong_a_pause() -> None:
    assert Asking(fruitless=2, pauses=1, waits=1, rested=1).roused().waits == 1


def test_a_flood_of_newcomers_makes_a_peer_ask_in_few_rounds() -> None:
    asked = asked_in(1000, newcomers=True)
    assert len(asked) <= 1000 / (LEAST_PAUSE + 1) + 2
