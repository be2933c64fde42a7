"""Tables of the live view fit their width for any names and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from support.records import begun_of, round_of, seen_of
from trust.inspection.watch.board import Board
from trust.inspection.watch.panels.drawing import (
    bytes_table,
    events_table,
    matrix_table,
    peers_table,
    scene,
    short_bytes,
    short_loss,
)
from trust.inspection.watch.panels.table import CellTable
from trust.record.history import Entry, Note, Record, Refusal, Traffic


def board_of(*records: Record, kinds: Sequence[str] = ("blob",)) -> Board:
    traffic = Traffic(sent=dict.fromkeys(kinds, 1_500_000), received=dict.fromkeys(kinds, 999))
    board = Board()
    board.feed(Entry(at_s=1.0, traffic=traffic, record=record) for record in records)
    return board


def words(table: CellTable) -> list[list[str]]:
    return [[cell.text.strip() for cell in row] for row in (table.head, *table.rows)]


@pytest.fixture
def nine() -> Board:
    peers = [f"peer-{number}" for number in range(1, 10)]
    rounds = [round_of(peer, 1, {other: 0.05 for other in peers if other != peer}) for peer in peers]
    return board_of(*(begun_of(peer, name=peer) for peer in peers), *rounds)


def test_columns_have_names_where_these_fit_and_numbers_where_not(nine: Board) -> None:
    wide, narrow = matrix_table(scene(nine, "name"), 100), matrix_table(scene(nine, "name"), 60)
    assert words(wide)[0][:3] == ["who learns", "peer-1", "peer-2"]
    assert words(wide)[1][:3] == ["peer-1", "*60", "5"]
    assert words(narrow)[0][:3] == ["who learns", "1", "2"]
    assert words(narrow)[1][:3] == ["1 peer-1", "*60", "5"]
    assert sum(narrow.widths) <= 60


def test_neighbours_with_another_base_have_their_mark() -> None:
    seen = (
        msgspec.structs.replace(seen_of("b"), relation="compares"),
        msgspec.structs.replace(seen_of("c"), relation="apart"),
        seen_of("d"),
    )
    board = board_of(begun_of("a"), round_of("a", 1, {}, seen=seen, self_weight=1.0))

    (_, row) = words(matrix_table(scene(board, "name"), 100))

    assert row[1:] == ["*100", "c", "a", "·"]


@pytest.mark.parametrize("width", range(60, 140, 7))
def test_losses_and_bytes_fit_from_sixty_columns_on(nine: Board, width: int) -> None:
    shown = scene(nine, "name")
    assert sum(peers_table(shown, width).widths) <= width
    assert sum(bytes_table(shown, width).widths) <= width


def test_a_narrow_terminal_leaves_out_the_least_important_columns(nine: Board) -> None:
    head = words(peers_table(scene(nine, "name"), 60))[0]
    assert head == ["peer", "round", "alone", "merged", "test", "past", "sent", "recv", "guard"]
    assert words(peers_table(scene(nine, "name"), 80))[0][-5:] == ["sent", "recv", "B/s", "seen", "guard"]


def test_kinds_that_do_not_fit_are_summed_up_as_other() -> None:
    board = board_of(begun_of("a"), round_of("a", 1, {}), kinds=[f"kind-{n}" for n in range(9)])
    head, row = words(bytes_table(scene(board, "name"), 60))
    assert (head[:2], head[-1]) == (["sent/recv", "all"], "other")
    assert row[1] == "14M/9.0k"
    assert row[-1] == "10M/7.0k"


def test_a_peer_without_a_finished_round_has_a_row_of_placeholders() -> None:
    board = board_of(begun_of("a"), round_of("a", 1, {"b": 0.5}), begun_of("b"))
    assert words(matrix_table(scene(board, "name"), 80))[2] == ["B", "?", "?"]
    assert set(words(peers_table(scene(board, "name"), 80))[2][1:]) == {"-"}


def test_each_event_is_one_line_and_the_newest_is_last() -> None:
    refusal = Refusal(peer="a", about="b", field="adapter.norm", why="[b]markup\x1b[0m " + "x" * 200)
    board = board_of(begun_of("a"), refusal, Note(peer="a", level="warning", text="came back"))
    rows = words(events_table(scene(board, "name"), (), lines=2, width=60))[1:]
    assert "A refused …b: adapter.norm: [b]markup\\x1b[0m xxx" in rows[0][0]
    assert rows[0][0].endswith("…")
    assert cell_len(rows[0][0]) == 60
    assert rows[1][0].endswith("A came back")
    assert words(events_table(scene(board, "name"), ("a file is torn",), lines=1, width=60))[1:] == [
        ["a file is torn"]
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (9949, "9.9k"), (9951, "10k"), (999_499, "999k"), (1e6, "1.0M")],
)
def test_bytes_have_at_most_four_characters(count: float, text: str) -> None:
    assert short_bytes(count) == text


@given(st.floats(0, 9e17))
def test_no_number_of_bytes_has_more_than_four_characters(count: float) -> None:
    assert len(short_bytes(count)) <= 4


@given(st.floats(0, 9e99))
def test_no_loss_is_wider_than_its_column(loss: float) -> None:
    assert len(short_loss(loss)) <= 5


def test_losses_that_are_not_finite_or_very_large_have_short_texts() -> None:
    assert [short_loss(loss) for loss in (math.nan, math.inf, 2.3456, 12.345, 1e9)] == [
        "?",
        "inf",
        "2.346",
        "12.3",
        "1e+09",
    ]
