"""The start of a learned row, the choice between candidate rows, and the shrunk row."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.rows.rows import Candidate, Neighbour, chosen, shrunk, starting_row


def crowd(count: int) -> list[Neighbour]:
    return [Neighbour(f"peer-{k}", "", (), (), 0) for k in range(count)]


@given(st.dictionaries(st.sampled_from([f"peer-{k}" for k in range(6)]), st.floats(0, 1 / 6)), st.data())
def test_a_starting_row_is_a_distribution_without_zeros(
    previous: dict[str, float], data: st.DataObject
) -> None:
    seen = crowd(data.draw(st.integers(0, 8)))
    order = data.draw(st.permutations(range(len(seen))))
    row = starting_row(previous, seen)
    assert len(row) == len(seen) + 1
    assert all(weight > 0 for weight in row)
    assert math.fsum(row) == pytest.approx(1, abs=1e-12)
    assert starting_row(previous, [seen[k] for k in order]) == (row[0], *(row[k + 1] for k in order))


def test_learning_begins_uniform_and_goes_on_from_the_last_row() -> None:
    seen = crowd(2)
    assert starting_row({}, seen) == pytest.approx((1 / 3,) * 3)
    assert starting_row({"gone": 0.5}, seen) == pytest.approx((1 / 3,) * 3)
    # Own 0.25 and 0.5 of peer-0, scaled to 1, nine parts in ten; the rest is uniform.
    row = starting_row({"peer-0": 0.5, "gone": 0.25}, seen)
    assert row == pytest.approx((0.9 / 3 + 0.1 / 3, 0.9 * 2 / 3 + 0.1 / 3, 0.1 / 3))
    assert starting_row({"peer-0": 0.0, "gone": 1.0}, seen) == pytest.approx((1 / 3,) * 3)


def test_the_least_loss_is_chosen_and_a_tie_goes_to_the_row_that_keeps_more() -> None:
    candidates = [Candidate(2.0, (0.2, 0.8)), Candidate(1.0, (0.6, 0.4)), Candidate(0.5, (0.7, 0.3))]
    assert chosen(candidates, [3.0, 2.0, 2.5]) == 1
    assert chosen(candidates, [2.0, 2.0, 2.5]) == 1
    assert chosen(candidates, [math.nan, math.inf, 9.0]) == 2


def test_without_a_finite_loss_no_candidate_is_chosen() -> None:
    assert chosen([Candidate(1.0, (0.5, 0.5))], [math.nan]) is None
    assert chosen([], []) is None
    with pytest.raises(ValueError, match="one loss for each"):
        chosen([], [1.0])


def test_a_shrunk_row_lies_halfway_to_keeping_everything() -> None:
    assert shrunk((0.5, 0.25, 0.25)) == (0.75, 0.125, 0.125)
    assert shrunk((1.0,)) == (1.0,)
