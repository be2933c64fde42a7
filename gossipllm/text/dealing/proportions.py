"""Shares of categories for each peer, `(N, C)`, and their rounding to whole windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gossipllm.randomness import symmetric
from gossipllm.text.dealing.categories import LABEL

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def mixed(first: I64, second: I64, major: float, categories: int) -> F64:
    """`(N, C)`: for each peer, `major` of its category in `first` and the rest of its category in `second`, which may
    be the same category."""
    one_hot = np.eye(categories)
    return major * one_hot[first] + (1 - major) * one_hot[second]


def dirichlet(alpha: float, categories: int, parts: tuple[int, ...]) -> F64:
    """`(C,)`: shares drawn from Dirichlet(alpha); equal `parts` of the seed give equal draws on every machine.

    Normalised Gamma(alpha) draws, each the inverse distribution function of Gamma(alpha + 1) at a uniform draw, times
    U^(1 / alpha). Computed in logarithms, because for small alpha all draws may be too small for a float.
    """
    from scipy.special import gammaincinv, log_softmax  # pyright: ignore[reportUnknownVariableType]

    uniform = (symmetric(LABEL, ("dirichlet", *parts), 2 * categories) + 1) / 2
    larger: F64 = gammaincinv(alpha + 1, uniform[0::2])
    return np.exp(log_softmax(np.log(larger) + np.log(uniform[1::2]) / alpha))


def apportioned(shares_C: F64, windows: int) -> I64:
    """`(C,)`: whole windows that sum to `windows`, rounded by the method of largest remainders: each count is within
    one window of its share."""
    # Rounded, so that platforms whose logarithms differ in the last digit agree on ties.
    quotas_C = np.round(shares_C * windows, 9)
    counts_C = np.floor(quotas_C).astype(np.int64)
    largest = np.argsort(counts_C - quotas_C, kind="stable")
    counts_C[largest[: windows - counts_C.sum()]] += 1
    return counts_C
