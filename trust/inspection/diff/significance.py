"""Paired differences over seeds: how much of them may be chance.

Runs of one seed share their texts and their draws, so differences are taken seed by seed. Student's t-test asks
whether their mean is 0 and takes them for normally distributed; Wilcoxon's signed-rank test takes them only for
symmetric, and with fewer than six seeds cannot reach 0.05 whatever they are.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

LEVEL: Final = 0.05
"""Below this a difference is called more than chance. Custom, nothing more."""

_NEGLIGIBLE: Final = 1e-12
"""Spread, relative to the mean, below which differences count as all the same: they are rounding errors then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """`mean` of `n` differences, their sample standard deviation, and the 95 % interval of the mean.

    None where it does not exist: of one difference all but the mean; where all are the same (0 included) both
    probabilities, for these tests have nothing to measure chance by; for Wilcoxon's also where each is 0.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    t_p: float | None
    wilcoxon_p: float | None


def paired(differences: Sequence[float]) -> Paired:
    """Two-sided tests of these differences against 0. Raises `ValueError` for none."""
    if not differences:
        raise ValueError("differences must not be empty")
    n, middle = len(differences), mean(differences)
    if n == 1 or not math.isfinite(middle):
        return Paired(n=n, mean=middle, std=None, low=None, high=None, t_p=None, wilcoxon_p=None)
    std = statistics.stdev(differences)
    if std <= _NEGLIGIBLE * abs(middle):
        return Paired(n=n, mean=middle, std=std, low=middle, high=middle, t_p=None, wilcoxon_p=None)
    from scipy import stats  # most of a second, for those with several seeds only

    tests = cast("Any", stats)
    t = tests.ttest_1samp(differences, 0.0)
    low, high = t.confidence_interval(0.95)
    with warnings.catch_warnings():
        # Where differences tie, the probability is approximate, and scipy says so.
        warnings.simplefilter("ignore")
        w = tests.wilcoxon([value for value in differences if value])
    return Paired(
        n=n,
        mean=middle,
        std=std,
        low=float(low),
        high=float(high),
        t_p=float(t.pvalue),
        wilcoxon_p=float(w.pvalue),
    )


def mean(values: Sequence[float]) -> float:
    """nan where infinities of both signs meet, for which `statistics.fmean` raises. At least one."""
    return sum(values) / len(values)


def smallest_wilcoxon(n: int) -> float:
    """The least probability that `n` differences can have: all of one sign, one of 2^n ways to deal signs."""
    return min(1.0, 2.0 ** (1 - n))


def verdict(found: Paired) -> str:
    """One sentence for people. The difference is the second side's value less the first's."""
    if not math.isfinite(found.mean):
        return "a value is not finite: nothing can be said"
    if found.n == 1:
        return "one run each: how much of this is chance is not known; run several seeds"
    if found.t_p is None and not found.mean:
        return f"no difference in any of {found.n} seeds"
    if found.t_p is None:
        return f"exactly the same difference in all {found.n} seeds"
    if found.t_p >= LEVEL:
        return f"not distinguishable with {found.n} seeds (p = {found.t_p:.2g})"
    direction = "lower" if found.mean < 0 else "higher"
    share = f"{100 * found.t_p:.2g} % of cases"
    return f"B is {direction}: chance alone would give this much in {share} (paired t-test, {found.n} seeds)"
