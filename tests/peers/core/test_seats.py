"""Seats: what neighbours earned is bounded, kept over restarts, and lost fast."""

from __future__ import annotations

from peers.core.others.standing.seats import MAX_STANDINGS, Seats


def test_a_peer_that_was_never_measured_has_no_standing_and_takes_no_memory() -> None:
    seats = Seats()
    assert seats.level("stranger") == 0.0
    assert not seats.seated("stranger")
    seats.harmed("stranger")
    assert seats.rows() == ()


def test_standings_outlive_a_restart() -> None:
    seats, after = Seats(), Seats()
    for _ in range(3):
        seats.gained("friend")
    after.restore(seats.rows())
    assert after.level("friend") == seats.level("friend") > 0
    assert after.seated("friend")


def test_a_broken_promise_costs_everything_and_a_harmful_round_most() -> None:
    seats = Seats()
    for _ in range(4):
        seats.gained("one")
        seats.gained("other")
    seats.harmed("one")
    seats.forfeit("other")
    assert not seats.seated("one")
    assert seats.level("one") > seats.level("other") == 0.0


def test_above_the_bound_the_lowest_standing_is_forgotten() -> None:
    seats = Seats()
    for _ in range(2):
        seats.gained("proven")
    for number in range(MAX_STANDINGS + 10):
        seats.gained(f"new {number}")
    assert len(seats.rows()) == MAX_STANDINGS
    assert seats.seated("proven")
