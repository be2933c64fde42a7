"""Significance of paired differences over seeds.

Runs of one seed share their texts and their random draws, so differences are taken seed by seed. Student's t-test asks
whether their mean is 0 and assumes a normal distribution; Wilcoxon's signed-rank test assumes only a symmetric one, and
with fewer than six seeds cannot reach 0.05 whatever the differences are.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

LEVEL: Final = 0.05
"""Probability below which a difference is called more than chance. The customary value."""

_NEGLIGIBLE: Final = 1e-12
"""Standard deviation, relative to the mean, up to which differences count as equal: they are rounding errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The mean of `n` differences, their sample standard deviation, the 95 % interval of the mean (`low`, `high`), and
    the probabilities of Student's t-test and Wilcoxon's test.

    For a single difference all but `n` and `mean` are None. Where all differences are the same (0 included), both
    probabilities are None: the tests have no spread to measure chance by.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    t_p: float | None
    wilcoxon_p: float | None


def paired(differences: Sequence[float]) -> Paired:
    """Two-sided tests of the differences against 0. Raises `ValueError` for no differences."""
    if not differences:
        raise ValueError("differences must not be empty")
    n, middle = len(differences), mean(differences)
    if n == 1 or not math.isfinite(middle):
        return Paired(n=n, mean=middle, std=None, low=None, high=None, t_p=None, wilcoxon_p=None)
    std = statistics.stdev(differences)
    if std <= _NEGLIGIBLE * abs(middle):
        return Paired(n=n, mean=middle, std=std, low=middle, high=middle, t_p=None, wilcoxon_p=None)
    from scipy import stats  # takes most of a second to import, and only several seeds need it

    tests = cast("Any", stats)
    t = tests.ttest_1samp(differences, 0.0)
    low, high = t.confidence_interval(0.95)
    with warnings.catch_warnings():
        # scipy warns that the probability is approximate where differences tie.
        warnings.simplefilter("ignore")
        # Without zeros, as in Wilcoxon's original test: a zero has no sign.
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
    """Mean of at least one value; nan for infinities of both signs, for which `statistics.fmean` raises."""
    return sum(values) / len(values)


def smallest_wilcoxon(n: int) -> float:
    """The smallest two-sided probability that Wilcoxon's test gives for `n` differences: all have the same sign, which
    is 2 of the 2^n possible patterns of signs."""
    return min(1.0, 2.0 ** (1 - n))


def verdict(found: Paired) -> str:
    """One sentence on the difference, which is the value of the second side (B) less that of the first."""
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
