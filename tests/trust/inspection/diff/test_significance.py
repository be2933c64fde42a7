"""Significance of paired differences: agreement with scipy, and the edge cases in which its tests are undefined."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
from scipy import stats as typed_stats

from trust.inspection.diff.significance import LEVEL, paired, smallest_wilcoxon, verdict

stats = cast("Any", typed_stats)
"""scipy, whose own annotations do not know `pvalue`."""


def test_the_numbers_are_those_of_paired_tests() -> None:
    ours, theirs = [1.0, 2.0, 4.0, 3.0, 2.5, 7.0, 1.5], [0.5, 2.25, 3.0, 2.5, 1.0, 5.0, 1.75]
    found = paired([b - a for a, b in zip(ours, theirs, strict=True)])
    assert found.t_p == pytest.approx(stats.ttest_rel(theirs, ours).pvalue)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(theirs, ours).pvalue)


def test_the_interval_is_that_of_students_t() -> None:
    # Differences -1, 0, 1 less 5: mean -5, deviation 1, and t of two degrees of freedom at 97.5 % is 4.3027.
    found = paired([-6.0, -5.0, -4.0])
    assert (found.mean, found.std) == (-5.0, 1.0)
    assert found.low == pytest.approx(-5 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert found.high == pytest.approx(-5 + 4.3027 / math.sqrt(3), abs=1e-4)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 8])
def test_fewer_than_six_seeds_cannot_reach_the_level_by_wilcoxon(n: int) -> None:
    found = paired([-1.0 - 0.1 * k for k in range(n)])
    assert found.wilcoxon_p == pytest.approx(smallest_wilcoxon(n))
    assert (smallest_wilcoxon(n) < LEVEL) == (n >= 6)


def test_one_run_each_says_nothing_about_chance() -> None:
    found = paired([-0.5])
    assert (found.n, found.mean, found.std, found.t_p) == (1, -0.5, None, None)
    assert "run several seeds" in verdict(found)


def test_three_seeds_that_disagree_are_not_distinguishable() -> None:
    assert verdict(paired([-1.0, 1.0, 0.5])).startswith("not distinguishable with 3 seeds (p = 0.8")


@pytest.mark.parametrize(("sign", "direction"), [(-1, "lower"), (1, "higher")])
def test_seeds_that_agree_are_beyond_chance(sign: int, direction: str) -> None:
    sentence = verdict(paired([sign * value for value in (1.0, 1.1, 0.9)]))
    # t = 1 / (0.1 / sqrt 3) = 17.32, which two degrees of freedom reach with probability 0.0033.
    cases = "0.33 % of cases (paired t-test, 3 seeds)"
    assert sentence == f"B is {direction}: chance alone would give this much in {cases}"


def test_equal_differences_have_a_verdict_without_a_probability() -> None:
    assert verdict(paired([0.0, 0.0])) == "no difference in any of 2 seeds"
    assert verdict(paired([0.25] * 3)) == "exactly the same difference in all 3 seeds"
    # The same up to the last bits.
    assert paired([0.1 + 0.2, 0.3, 0.3]).t_p is None


def test_zeros_are_left_out_by_wilcoxon_only() -> None:
    found = paired([0.0, 0.0, 1.0, 2.0])
    assert found.t_p == pytest.approx(stats.ttest_1samp([0.0, 0.0, 1.0, 2.0], 0).pvalue)
    assert found.wilcoxon_p == pytest.approx(0.5)


def test_a_loss_that_is_not_finite_has_its_own_verdict() -> None:
    assert verdict(paired([math.nan, 1.0])) == "a value is not finite: nothing can be said"
    assert verdict(paired([math.inf, 1.0])) == "a value is not finite: nothing can be said"


def test_no_differences_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        paired([])
