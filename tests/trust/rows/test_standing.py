"""A standing rises slowly and falls fast."""

from __future__ import annotations

from trust.rows.standing import has_seat, lowered, raised


def test_a_seat_takes_several_rounds_and_one_bad_round_takes_it_away() -> None:
    level, rounds = 0.0, 0
    while not has_seat(level):
        level, rounds = raised(level), rounds + 1
    assert rounds == 2
    for _ in range(10):
        level = raised(level)
    assert level == 1.0
    assert not has_seat(lowered(level))
