"""Means of losses over windows that hold unequal numbers of tokens.

Axes: W windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gossipllm.text.windows import Windows, targets
from trust.rows.config import Reduction
from wire.floats import F32

F64 = NDArray[np.float64]


def weights_of(windows_WT: Windows, reduction: Reduction) -> F64 | None:
    """How much each window's mean loss counts: by its tokens that bear loss, or, with "sequences", equally for all
    windows that have any. None where all windows count equally."""
    tokens_W = targets(windows_WT)
    weights_W = (tokens_W if reduction == "tokens" else tokens_W > 0).astype(np.float64)
    return None if (weights_W == weights_W[:1]).all() else weights_W


def mean_loss(losses_W: F32, weights_W: F64 | None) -> float:
    if weights_W is None:
        return float(losses_W.mean(dtype=np.float64))
    return float(np.average(losses_W.astype(np.float64), weights=weights_W))


def standard_error(differences_W: F32, weights_W: F64 | None) -> float:
    """Standard error of the mean of differences; with weights, of the weighted mean, to first order."""
    if weights_W is None:
        return float(differences_W.std(ddof=1, dtype=np.float64)) / len(differences_W) ** 0.5
    mean = mean_loss(differences_W, weights_W)
    residuals_W = (differences_W.astype(np.float64) - mean) * weights_W / weights_W.mean()
    return float(residuals_W.std(ddof=1)) / len(differences_W) ** 0.5
