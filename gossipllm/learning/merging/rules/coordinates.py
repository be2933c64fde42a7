"""Robust merge rules that take each number of an adapter by itself: the median and the trimmed mean.

Yin, Chen, Kannan and Bartlett (ICML 2018, arXiv 1803.01498). A weight counts as that many copies of a value, so that
equal weights give the published rules. The factors A and B are taken apart, as the rule "mean" takes them, so these
rules mean something only for adapters that began with one A in common, or have it frozen.

Axes: K peers, X numbers of a piece.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gossipllm.learning.merging.averages import F64

TRIMMED: Final = 0.25
"""Share of the weight that the trimmed mean drops at either end: it gives the mean of the middle half, and no values
of less than a quarter of the weight can move it beyond the others. Guess."""

_ROUNDING: Final = 1e-9
"""Sums of weights that differ by less are equal."""


def median(values_KX: F64, row_K: F64) -> F64:
    """For each number the value with half of the weight on either side; the mean of two where both have it."""
    sorted_KX, held_KX = _sorted(values_KX, row_K)
    lower_X = np.argmax(held_KX >= 0.5 - _ROUNDING, axis=0)
    upper_X = np.argmax(held_KX > 0.5 + _ROUNDING, axis=0)
    low_1X, high_1X = (np.take_along_axis(sorted_KX, at_X[None], axis=0) for at_X in (lower_X, upper_X))
    return (low_1X[0] + high_1X[0]) / 2


def trimmed_mean(values_KX: F64, row_K: F64) -> F64:
    """For each number the mean of the middle of the weight, without the share `TRIMMED` at either end."""
    sorted_KX, held_KX = _sorted(values_KX, row_K)
    kept_KX = np.clip(held_KX, TRIMMED, 1 - TRIMMED) - TRIMMED
    # Weights, not values, are subtracted: a huge value outside the middle leaves no rounding error.
    inside_KX = np.diff(kept_KX, axis=0, prepend=0.0) / (1 - 2 * TRIMMED)
    return np.einsum("kx,kx->x", inside_KX, sorted_KX)


def _sorted(values_KX: F64, row_K: F64) -> tuple[F64, F64]:
    """The values of each number in rising order, and the share of the weight up to each; values of weight 0 are out."""
    heard = row_K > 0
    order_KX = np.argsort(values_KX[heard], axis=0, kind="stable")
    held_KX = np.cumsum((row_K[heard] / row_K.sum())[order_KX], axis=0)
    held_KX[-1] = 1.0
    return np.take_along_axis(values_KX[heard], order_KX, axis=0), held_KX
