"""Nouns agree with their numbers."""

from __future__ import annotations

from trust.counting import counted


def test_one_is_one_thing_and_any_other_number_is_several() -> None:
    assert counted(1, "round") == "1 round"
    assert counted(0, "round") == "0 rounds"
    assert counted(12_000, "round") == "12,000 rounds"
    assert counted(1, "peer is", "peers are") == "1 peer is"
    assert counted(2, "peer is", "peers are") == "2 peers are"
