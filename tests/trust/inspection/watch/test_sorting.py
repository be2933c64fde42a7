"""Orders of the peers in the live view."""

from __future__ import annotations

import math

import msgspec
import pytest

from support.records import begun_of, round_of
from trust.inspection.reading.ordering import clustered
from trust.inspection.watch.board import Board
from trust.inspection.watch.sorting import SORTS, Sort, in_order
from trust.record.history import Entry, Traffic


@pytest.fixture
def board() -> Board:
    """a and c trust each other, as do b and e; d never finished a round, and x is only mentioned by a."""
    rounds = {
        "a": round_of("a", 1, {"c": 0.5, "b": 0.1, "x": 0.1}),
        "b": round_of("b", 1, {"e": 0.5, "a": 0.1}),
        "c": round_of("c", 1, {"a": 0.5, "e": 0.1}),
        "e": round_of("e", 1, {"b": 0.75, "c": 0.1}),
    }
    losses = {"a": 4.0, "b": math.nan, "c": 2.0, "e": 3.0}
    board = Board()
    for peer in "abcde":
        board.feed([Entry(at_s=0.0, traffic=Traffic(sent={}, received={}), record=begun_of(peer))])
    for peer, finished in rounds.items():
        record = msgspec.structs.replace(finished, test_merged=losses[peer])
        board.feed([Entry(at_s=0.0, traffic=Traffic(sent={}, received={}), record=record)])
    return board


@pytest.mark.parametrize(
    ("sort", "order"),
    [("name", "abcdex"), ("self", "bcaedx"), ("loss", "ceabdx")],
)
def test_a_peer_without_a_round_comes_last_and_peers_without_a_history_after_it(
    board: Board, sort: Sort, order: str
) -> None:
    assert "".join(in_order(board, sort)) == order


def test_peers_that_trust_each_other_are_adjacent(board: Board) -> None:
    order = "".join(in_order(board, "cluster"))
    assert sorted(order[:-1]) == list("abcde")
    assert order.endswith("x")
    assert "ac" in order or "ca" in order
    assert "be" in order or "eb" in order


@pytest.mark.parametrize("sort", SORTS)
def test_a_board_without_peers_can_be_sorted(sort: Sort) -> None:
    assert in_order(Board(), sort) == ()


@pytest.mark.parametrize("sort", SORTS)
def test_a_board_with_one_peer_can_be_sorted(sort: Sort) -> None:
    board = Board()
    board.feed([Entry(at_s=0.0, traffic=Traffic(sent={}, received={}), record=begun_of("a"))])
    assert in_order(board, sort) == ("a",)


def test_the_order_by_cluster_is_that_of_trust_show(board: Board) -> None:
    matrix = board.matrix
    places, _ = clustered(matrix.rows_PP[:5, :5])
    assert in_order(board, "cluster")[:5] == tuple(matrix.peers[place] for place in places)


def test_a_row_that_is_not_finite_keeps_its_peer_in_the_order(board: Board) -> None:
    record = round_of("d", 1, {"a": math.inf, "b": math.nan})
    board.feed([Entry(at_s=0.0, traffic=Traffic(sent={}, received={}), record=record)])
    assert sorted(in_order(board, "cluster")) == list("abcdex")
