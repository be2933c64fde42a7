"""Charts of block characters, with heights in eighths of a character cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """A line chart one character high, scaled from the least to the greatest value shown and right-aligned; `?` for a
    value that is not finite."""
    shown = sampled(values, width)
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_mark(value, low, high) for value in shown).rjust(width)


def columns(values: Sequence[float | None], *, width: int, height: int, top: float) -> tuple[str, ...]:
    """A column chart from 0 to `top` as `height` lines of text, uppermost first. A missing value is blank; a positive
    value has a height of at least one eighth."""
    eighths = [_eighths(value, height, top) for value in sampled(values, width)]
    return tuple(
        "".join(_EIGHTHS[min(max(count - 8 * below, 0), 8)] for count in eighths)
        for below in reversed(range(height))
    )


def sampled(values: Sequence[T], width: int) -> Sequence[T]:
    """At most `width` of the values: the last of each of `width` equal parts, so that the newest is always shown."""
    if len(values) <= width:
        return values
    return [values[(column + 1) * len(values) // width - 1] for column in range(width)]


def _mark(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "?"
    span = high - low
    return _EIGHTHS[1 + round(7 * ((value - low) / span))] if 0 < span < math.inf else _EIGHTHS[4]


def _eighths(value: float | None, height: int, top: float) -> int:
    if value is None or not math.isfinite(value) or value <= 0 or top <= 0:
        return 0
    return max(1, round(8 * height * min(value / top, 1.0)))
