"""The state of the live view, and its bounded memory."""

from __future__ import annotations

import pytest

from support.records import begun_of, round_of
from trust.inspection.watch import board as boards
from trust.inspection.watch.board import KEPT_EVENTS, KEPT_ROUNDS, Board
from trust.record.history import Entry, Note, Record, Refusal, Traffic


def entry(record: Record, at_s: float = 0.0, blob: int = 0) -> Entry:
    return Entry(at_s=at_s, traffic=Traffic(sent={"blob": blob}, received={}), record=record)


def refusal(peer: str, about: str) -> Refusal:
    return Refusal(peer=peer, about=about, field="adapter", why="too large")


def test_feed_returns_the_peers_whose_rows_changed() -> None:
    board = Board()
    assert board.feed([entry(begun_of("a")), entry(begun_of("b"))]) == set()
    assert board.feed([entry(round_of("b", 1, {"a": 0.25}))]) == {"b"}
    assert board.matrix.names == ("A", "B")
    assert board.matrix.rows_PP[1].tolist() == [0.25, 0.75]


def test_a_repeated_round_replaces_the_first_one_and_those_after_it() -> None:
    board = Board()
    board.feed(entry(round_of("a", number, {})) for number in (1, 2, 3))
    board.feed([entry(round_of("a", 2, {"b": 0.5}))])
    peer = board.peers["a"]
    assert [point.round for point in peer.points] == [1, 2]
    assert peer.points[-1].weights == {"a": 0.5, "b": 0.5}
    assert peer.latest is not None
    assert peer.latest.round == 2


def test_kept_rounds_and_events_are_bounded() -> None:
    board = Board()
    board.feed(entry(round_of("a", number, {})) for number in range(KEPT_ROUNDS + 50))
    board.feed(entry(refusal("a", "b")) for _ in range(KEPT_EVENTS + 50))
    assert len(board.peers["a"].points) == KEPT_ROUNDS
    assert len(board.events) == KEPT_EVENTS
    assert board.refusals == KEPT_EVENTS + 50


def test_events_of_several_files_are_sorted_by_time() -> None:
    board = Board()
    board.feed(entry(Note(peer="a", level="info", text=f"{at_s}"), at_s) for at_s in (1.0, 5.0))
    board.feed([entry(Note(peer="b", level="info", text="3.0"), 3.0)])
    assert [event.at_s for event in board.events] == [1.0, 3.0, 5.0]


def test_refusals_are_found_by_writer_and_subject() -> None:
    board = Board()
    board.feed(map(entry, (begun_of("a"), refusal("a", "b"), refusal("a", "c"), refusal("b", "a"))))
    assert [event.record for event in board.refusals_of("a", "b")] == [refusal("a", "b")]
    assert board.peers["a"].refusals == 2


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        ([0.0], None),
        ([0.0, 10.0], 100.0),  # 1000 bytes in 10 s
        ([0.0, 1000.0, 1010.0, 1020.0], 100.0),  # the last minute only
        ([0.0, 100.0, 300.0], 5.0),  # rounds longer than that: the last of them
        ([7.0, 7.0], None),
        ([7.0, 7.001], None),  # a round and a note beside it
    ],
)
def test_the_rate_is_of_the_last_minute_of_records(times: list[float], rate: float | None) -> None:
    board = Board()
    for number, at_s in enumerate(times):
        board.feed([entry(round_of("a", number, {}), at_s, blob=1000 * (number + 1))])
    assert board.peers["a"].rate == rate


def test_a_snapshot_does_not_change() -> None:
    board = Board()
    board.feed([entry(begun_of("a")), entry(round_of("a", 1, {}), blob=10)])
    snapshot = board.snapshot()
    board.feed([entry(round_of("a", 2, {"b": 0.5}), blob=30), entry(refusal("a", "b"))])
    assert snapshot.matrix.rows_PP.tolist() == [[1.0]]
    assert len(snapshot.peers["a"].points) == 1
    assert snapshot.traffic["a"].sent.total() == 10
    assert snapshot.events == []
    assert board.traffic["a"].sent.total() == 30


def test_samples_of_a_busy_peer_are_bounded_and_cover_the_rate() -> None:
    board = Board()
    board.feed(entry(round_of("a", number, {}), number / 10) for number in range(5000))
    samples = board.peers["a"].samples
    assert samples.maxlen is not None
    assert samples[-1][0] - samples[0][0] >= boards.RATE_S
