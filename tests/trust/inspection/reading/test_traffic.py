"""Adding up bytes over restarts."""

from __future__ import annotations

import pytest

from support.records import begun_of, round_of
from trust.inspection.reading.summary import summary
from trust.inspection.reading.traffic import bytes_text, totals, with_bytes
from trust.record.history import Entry, Record, Traffic
from trust.record.matrix import members


def entry(record: Record, sent: int, received: int = 0) -> Entry:
    return Entry(at_s=0.0, traffic=Traffic(sent={"blob": sent}, received={"blob": received}), record=record)


def test_counts_that_restart_at_zero_are_added_up() -> None:
    found = totals(
        [
            entry(begun_of("a"), 0),
            entry(round_of("a", 1, {}), 10, 1),
            entry(round_of("a", 2, {}), 25, 2),
            entry(begun_of("a"), 0),
            entry(round_of("a", 3, {}), 30, 4),
        ]
    )
    assert (dict(found["a"].sent), dict(found["a"].received)) == ({"blob": 55}, {"blob": 6})


def test_peers_in_one_file_are_counted_separately() -> None:
    found = totals(
        [
            entry(begun_of("a"), 1),
            entry(begun_of("b"), 2),
            entry(round_of("a", 1, {}), 5),
            entry(round_of("b", 1, {}), 7),
        ]
    )
    assert {peer: traffic.sent["blob"] for peer, traffic in found.items()} == {"a": 5, "b": 7}


def test_a_summary_has_bytes_of_the_peers_that_wrote_histories() -> None:
    entries = [entry(round_of("a", 1, {"b": 0.5}), 5)]
    shown = with_bytes(summary(members(entries), []), totals(entries))
    assert shown.bytes is not None
    assert [(peer.peer, peer.sent, peer.received) for peer in shown.bytes] == [("a", {"blob": 5}, {})]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (12_615_680, "13 MB"),
        (3e15, "3.0 PB"),
    ],
)
def test_bytes_text_has_few_characters(count: float, text: str) -> None:
    assert bytes_text(count) == text
