"""Two merges that are refused in a row name who spoiled them, and what was done."""

from __future__ import annotations

import msgspec
import pytest

from peers.core.round.decision.spoilers import MAX_NAMED, Spoilers
from support.records import round_of, seen_of
from trust.record.history import Guard, LeftOut, Note, Round, Seen


@pytest.fixture
def spoilers() -> Spoilers:
    return Spoilers("id-me")


def left(name: str, why: LeftOut | None, gain: float | None = -0.03) -> Seen:
    return msgspec.structs.replace(seen_of(f"id-{name}", name=name), left=why, gain=gain)


def refused(*seen: Seen, guard: Guard = "refused") -> Round:
    return round_of("id-me", 0, {}, seen=seen, guard=guard)


def told(spoilers: Spoilers, record: Round, now: float = 0.0) -> list[str]:
    texts: list[str] = []
    for log in spoilers.after(record, now):
        assert isinstance(log.record, Note)
        assert log.record.level == "warning"
        assert len(log.record.text) <= 500
        texts.append(log.record.text)
    return texts


def test_the_second_refused_merge_names_who_spoiled_it_and_what_was_done(spoilers: Spoilers) -> None:
    record = refused(left("eve", "harmful"), left("lou", "loud"), left("ann", "useless", 0.0))

    assert told(spoilers, record) == []
    (line,) = told(spoilers, record)
    assert line == (
        "2 merges in a row were refused: eve (raised the trust loss, -0.03), lou (update far too large, -0.03). They "
        "were left out, and nobody else helped, so this peer trained alone"
    )


def test_where_others_were_left_they_did_not_help_together(spoilers: Spoilers) -> None:
    record = refused(left("eve", "unbound", None), left("ann", None, 0.01))

    told(spoilers, record)

    (line,) = told(spoilers, record)
    assert line == (
        "2 merges in a row were refused: eve (predictions not those of its update). They were left out, and the "
        "others did not help together, so this peer kept its own"
    )


def test_a_merge_in_between_begins_anew(spoilers: Spoilers) -> None:
    record = refused(left("eve", "harmful"))

    told(spoilers, record)
    told(spoilers, refused(left("eve", "harmful"), left("ann", None), guard="taken"))

    assert told(spoilers, record) == []


def test_a_round_alone_does_not_end_a_row_of_refusals(spoilers: Spoilers) -> None:
    told(spoilers, refused(left("eve", "harmful")))
    told(spoilers, refused(guard="alone"))

    assert told(spoilers, refused(left("eve", "harmful")))


def test_the_same_neighbour_is_named_once_an_hour_and_another_at_once(spoilers: Spoilers) -> None:
    eve = refused(left("eve", "harmful"))
    told(spoilers, eve, 0.0)
    assert told(spoilers, eve, 10.0)

    assert told(spoilers, eve, 3600.0) == []
    (line,) = told(spoilers, refused(left("eve", "harmful"), left("lou", "loud")), 3601.0)
    assert "lou" in line
    assert "eve" not in line
    assert told(spoilers, eve, 3611.0)


def test_many_spoilers_with_long_names_fit_a_line(spoilers: Spoilers) -> None:
    record = refused(*(left(f"{number}" + "\x1b" * 60, "unbound") for number in range(9)))

    told(spoilers, record)
    (line,) = told(spoilers, record)

    assert line.startswith("2 merges in a row were refused: 0\\x1b")
    assert "\x1b" not in line


def test_more_spoilers_than_a_line_names_are_counted(spoilers: Spoilers) -> None:
    record = refused(*(left(f"n{number}", "unbound") for number in range(9)))

    told(spoilers, record)
    (line,) = told(spoilers, record)

    assert f"n{MAX_NAMED - 1} (" in line
    assert f" and {9 - MAX_NAMED} more. They were left out" in line


def test_neighbours_that_only_did_not_help_are_not_named(spoilers: Spoilers) -> None:
    record = refused(left("ann", "useless", 0.0), left("bob", "twin", None))

    told(spoilers, record)

    assert told(spoilers, record) == []
