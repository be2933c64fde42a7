"""Orders and clusters of a trust matrix."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.records import entry_of, round_of
from trust.inspection.reading.ordering import Order, clustered, mutual, ordered
from trust.inspection.reading.summary import Summary, summary
from trust.record.matrix import members


def of_groups(count: int, groups: int, within: float, own: float = 0.5) -> np.ndarray:
    """A matrix in which peer i belongs to group i modulo `groups`. Of what a peer takes from others, the share `within`
    comes from its own group."""
    kind = np.arange(count) % groups
    same = (kind[:, None] == kind) & ~np.eye(count, dtype=bool)
    across = kind[:, None] != kind
    rows = within * same / same.sum(1, keepdims=True) + (1 - within) * across / across.sum(1, keepdims=True)
    return (1 - own) * rows + own * np.eye(count)


@pytest.fixture
def shown() -> Summary:
    """a, c and e take from each other, as do b, d and f; g is only mentioned."""
    rows = {
        "a": {"c": 0.3, "e": 0.3},
        "b": {"d": 0.4, "f": 0.4},
        "c": {"a": 0.4, "e": 0.4, "b": 0.01},
        "d": {"b": 0.25, "f": 0.25},
        "e": {"a": 0.1, "c": 0.1},
        "f": {"b": 0.5, "g": 0.05},
    }
    return summary(members(entry_of(round_of(peer, 1, row)) for peer, row in rows.items()), [])


def test_clusters_are_adjacent_and_listed_as_groups(shown: Summary) -> None:
    found = ordered(shown, "cluster")
    assert {frozenset(group) for group in found.groups} == {frozenset("ace"), frozenset("bdfg")}
    assert [peer.peer for peer in found.peers] == [peer for group in found.groups for peer in group]
    assert found.order == "cluster"


@pytest.mark.parametrize("order", ["cluster", "self", "effective"])
def test_an_order_moves_numbers_and_changes_no_number(shown: Summary, order: Order) -> None:
    found = ordered(shown, order)
    assert sorted(row.peer for row in found.rows) == sorted(row.peer for row in shown.rows)
    for name in "abcdef":
        before, after = (
            next(
                (row, {peer.peer: weight for peer, weight in zip(summary.peers, row.weights, strict=True)})
                for row in summary.rows
                if row.peer == name
            )
            for summary in (shown, found)
        )
        assert before[1] == after[1]
        assert msgspec.structs.replace(after[0], weights=before[0].weights) == before[0]


def test_the_order_by_name_changes_nothing(shown: Summary) -> None:
    assert ordered(shown, "name") is shown


@pytest.mark.parametrize(("order", "field"), [("self", "self_weight"), ("effective", "effective")])
def test_the_greatest_comes_first_and_peers_without_a_row_last(
    shown: Summary, order: Order, field: str
) -> None:
    found = ordered(shown, order)
    values = [getattr(row, field) for row in found.rows]
    assert values == sorted(values, reverse=True)
    assert found.peers[-1].peer == "g"


@pytest.mark.parametrize(("count", "groups"), [(9, 3), (30, 2), (12, 4)])
def test_groups_that_trust_their_own_members_are_found(count: int, groups: int) -> None:
    places, sizes = clustered(of_groups(count, groups, 0.95))
    assert sizes == [count // groups] * groups
    assert [place % groups for place in places] == sorted(
        (place % groups for place in places), key=_first(places, groups)
    )


def _first(places: list[int], groups: int):
    kinds = list(dict.fromkeys(place % groups for place in places))
    return kinds.index


@pytest.mark.parametrize("count", [1, 2, 3, 9, 40])
def test_equal_rows_make_one_cluster(count: int) -> None:
    places, sizes = clustered(np.full((count, count), 1 / count))
    assert sorted(places) == list(range(count))
    assert sizes == [count]


def test_random_rows_make_one_cluster() -> None:
    rng = np.random.default_rng(0)
    rows = np.zeros((100, 100))
    for row in rows:
        row[rng.choice(100, 16, replace=False)] = 1 / 16
    assert clustered(rows)[1] == [100]


def test_peers_that_keep_everything_make_one_cluster() -> None:
    _, sizes = clustered(np.eye(5))
    assert sizes == [5]


def test_own_weights_do_not_change_the_clusters() -> None:
    rows = of_groups(9, 3, 0.9)
    shrunk = rows.copy()
    shrunk[4] = 0.05 * rows[4] + 0.95 * np.eye(9)[4]
    assert clustered(shrunk) == clustered(rows)


weights = st.floats(0, 1) | st.sampled_from([0.0, 1.0])


@given(
    st.integers(1, 9).flatmap(
        lambda count: st.lists(
            st.none() | st.lists(weights, min_size=count, max_size=count), min_size=count, max_size=count
        )
    )
)
def test_any_matrix_has_an_order(rows: list[list[float] | None]) -> None:
    rows_PP = np.array([[np.nan] * len(rows) if row is None else row for row in rows])
    places, sizes = clustered(rows_PP)
    assert sorted(places) == list(range(len(rows)))
    assert sum(sizes) == len(rows)
    assert min(sizes) > 0
    near_PP = mutual(rows_PP)
    assert np.array_equal(near_PP, near_PP.T)
    assert ((near_PP >= 0) & (near_PP <= 1)).all()
