"""The sentence about what to expect comes once, when the rounds are done or the peer has settled."""

from __future__ import annotations

import msgspec

from peers.run.printing.expecting import Expecting
from support.records import begun_of, round_of
from trust.expectation import expectation
from trust.record.history import Record

BEGUN = msgspec.structs.replace(begun_of("me"), train_tokens=5_120)
SETTLED = msgspec.structs.replace(round_of("me", 1, {"b": 0.25}), settled=True)


def notes(rounds: int, *records: Record) -> list[str]:
    expecting = Expecting("me", rounds=rounds)
    told = [expecting.after(record) for record in records]
    return [note.text for note in told if note is not None]


def test_it_follows_the_last_round() -> None:
    first, last = round_of("me", 0, {"b": 0.25}), round_of("me", 1, {"b": 0.25, "c": 0.2})
    assert notes(2, BEGUN, first) == []
    assert notes(2, BEGUN, first, last) == [expectation(tokens=5_120, relatives=2)]


def test_it_follows_settling_and_is_not_repeated() -> None:
    woken = round_of("me", 2, {"b": 0.25})
    again = msgspec.structs.replace(SETTLED, round=3)
    assert notes(0, BEGUN, SETTLED, woken, again) == [expectation(tokens=5_120, relatives=1)]


def test_a_run_without_an_end_says_nothing_meanwhile() -> None:
    assert notes(0, BEGUN, *(round_of("me", number, {"b": 0.25}) for number in range(9))) == []
