"""A mean over seeds with its standard deviation, as tables show it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], sign: str = "") -> str:
    """With `sign` "+", differences carry theirs. One value has no deviation."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.2f}{deviation}"
