"""Formats a mean over seeds with its standard deviation for the tables of the benchmarks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean ± sample standard deviation; without the deviation for a single value.

    `sign` "+" writes the sign of positive means too, for differences.
    """
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.2f}{deviation}"
