"""Which trust windows propose a merge, and which judge it."""

from __future__ import annotations

import numpy as np
import pytest

from gossipllm.learning.measuring.halves import LEAST_SPLIT, halves


def test_every_window_proposes_or_judges_and_none_does_both() -> None:
    one = halves(25, seed=3, round_=7, split=True)
    assert sorted([*one.proposing_P, *one.judging_J]) == list(range(25))
    assert (len(one.proposing_P), len(one.judging_J)) == (12, 13)


def test_a_round_that_is_repeated_is_judged_by_the_same_windows_and_the_next_one_by_others() -> None:
    first, again, later = (halves(24, seed=3, round_=round_, split=True) for round_ in (7, 7, 8))
    assert np.array_equal(first.judging_J, again.judging_J)
    assert not np.array_equal(first.judging_J, later.judging_J)


def test_peers_of_one_round_are_judged_by_different_windows() -> None:
    one, other = (halves(24, seed=seed, round_=7, split=True) for seed in (3, 4))
    assert not np.array_equal(one.judging_J, other.judging_J)


def test_each_window_judges_in_about_half_of_the_rounds() -> None:
    counts = np.zeros(24)
    for round_ in range(400):
        counts[halves(24, seed=3, round_=round_, split=True).judging_J] += 1
    # Four standard deviations of a fair coin.
    assert (np.abs(counts - 200) < 40).all()


@pytest.mark.parametrize(("windows", "split"), [(LEAST_SPLIT - 1, True), (24, False)])
def test_too_few_windows_and_those_that_shall_not_be_split_do_both(windows: int, *, split: bool) -> None:
    one = halves(windows, seed=3, round_=7, split=split)
    assert list(one.proposing_P) == list(one.judging_J) == list(range(windows))
