from __future__ import annotations

import numpy as np

from support.records import begun_of, entry_of, round_of
from trust.record.history import Record
from trust.record.matrix import Matrix, members, trust_matrix


def matrix_of(*records: Record, at: int | None = None) -> Matrix:
    return trust_matrix(members([entry_of(record) for record in records]), at_round=at)


def test_each_peer_has_its_latest_row() -> None:
    matrix = matrix_of(
        round_of("a", 1, {"b": 0.25}), round_of("a", 2, {"b": 0.5}), round_of("b", 1, {"a": 0.125})
    )
    assert matrix.peers == ("a", "b")
    assert matrix.rounds == (2, 1)
    assert matrix.rows_PP.tolist() == [[0.5, 0.5], [0.125, 0.875]]


def test_a_peer_without_the_round_asked_for_has_no_row() -> None:
    matrix = matrix_of(
        round_of("a", 1, {"b": 0.25}), round_of("a", 2, {"b": 0.5}), round_of("b", 2, {}), at=1
    )
    assert matrix.rounds == (1, None)
    assert matrix.rows_PP[0].tolist() == [0.75, 0.25]
    assert np.isnan(matrix.rows_PP[1]).all()


def test_a_neighbour_without_a_history_still_has_a_column() -> None:
    matrix = matrix_of(round_of("z", 1, {"b": 0.25}))
    assert matrix.peers == ("z", "b")
    assert matrix.names == ("", "B")
    assert matrix.rounds == (1, None)
    assert matrix.rows_PP[0].tolist() == [0.75, 0.25]
    assert np.isnan(matrix.rows_PP[1]).all()


def test_a_peer_that_a_row_does_not_mention_has_weight_zero() -> None:
    matrix = matrix_of(round_of("a", 1, {}), round_of("b", 1, {}))
    assert matrix.rows_PP.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_round_repeated_after_a_crash_counts_as_written_last() -> None:
    records = (
        round_of("a", 2, {"b": 0.5}),
        round_of("a", 3, {"b": 0.5}),
        round_of("a", 2, {"b": 0.25}),
    )
    assert matrix_of(*records).rounds[0] == 2
    assert matrix_of(*records, at=2).rows_PP[0].tolist() == [0.75, 0.25]


def test_a_peers_own_name_for_itself_takes_precedence() -> None:
    matrix = matrix_of(begun_of("b", name="bertha"), round_of("a", 1, {"b": 0.5}), round_of("b", 1, {}))
    assert dict(zip(matrix.peers, matrix.names, strict=True)) == {"a": "", "b": "bertha"}


def test_numbers_in_names_are_ordered_by_value() -> None:
    matrix = matrix_of(*(begun_of(f"id{n}", name=f"peer-{n}") for n in (10, 9, 2)))
    assert matrix.names == ("peer-2", "peer-9", "peer-10")


def test_no_history_is_an_empty_matrix() -> None:
    matrix = matrix_of()
    assert matrix.peers == ()
    assert matrix.rows_PP.shape == (0, 0)
