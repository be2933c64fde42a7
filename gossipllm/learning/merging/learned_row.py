"""A row learned by gradient: how much of each neighbour lowers this peer's trust loss.

With the merge x(w) = o + sum_j w_j m_j, one backward pass gives all partial derivatives at once,

    dL/dw_j = <dL/dx, m_j>,

where mixing parameters has o = 0 and m_j are the adapters, and mixing updates has the start of this peer's last local
steps for o and the gain of each adapter for m_j. The cost does not depend on the number of neighbours, whereas
measuring each neighbour's own loss takes a forward pass for each.
The row is the softmax of logits that start at the given row, and Adam moves them (Kingma and Ba, arXiv
1412.6980): its steps do not depend on the scale of the loss. Learning whom to collaborate with on one's own
validation loss is L2C (Li et al., CVPR 2022).

It is learned for the mean of the factors whatever the merge rule, which differs from the exact mixture in
second order between adapters of one start; what the rule really gives is measured before it is taken.

Axes: K adapters, entry 0 the peer's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipllm.learning.jobs.jobs import Task, slope_of
from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Windows
from trust.rows.config import Reduction
from wire.floats import F32

F64 = NDArray[np.float64]

_BETAS: Final = (0.9, 0.999)
_LEAST: Final = 1e-6
"""Smallest weight to start from: the logit of weight 0 is minus infinity, from which no step returns. Guess."""


def learned_row(
    row: Sequence[float],
    moves: Sequence[State],
    windows_WT: Windows,
    *,
    origin: State | None,
    steps: int,
    rate: float,
    reduction: Reduction = "tokens",
) -> Task[tuple[F64, list[float]]]:
    """The row after `steps` steps of size `rate` in its logits, and the loss before each of them, which is the
    mean that `reduction` says.

    Ends early where a loss or a gradient is not finite, with the row so far; the caller measures any row before it
    merges by it.
    """
    start_K = np.maximum(np.asarray(row, np.float64), _LEAST)
    logits_K = np.log(start_K / start_K.sum())
    first_K, second_K = np.zeros_like(logits_K), np.zeros_like(logits_K)
    losses: list[float] = []
    for step in range(1, steps + 1):
        row_K = _softmax(logits_K)
        at = yield from slope_of(_mixed(row_K, moves, origin), windows_WT, reduction)
        losses.append(at.loss)
        partial_K = np.array(
            [sum(float(np.vdot(at.gradient[name], move[name])) for name in at.gradient) for move in moves]
        )
        if not (np.isfinite(at.loss) and np.isfinite(partial_K).all()):
            break
        slope_K = row_K * (partial_K - row_K @ partial_K)
        first_K = _BETAS[0] * first_K + (1 - _BETAS[0]) * slope_K
        second_K = _BETAS[1] * second_K + (1 - _BETAS[1]) * slope_K**2
        mean_K, square_K = first_K / (1 - _BETAS[0] ** step), second_K / (1 - _BETAS[1] ** step)
        logits_K = logits_K - rate * mean_K / (np.sqrt(square_K) + 1e-12)
    return _softmax(logits_K), losses


def _mixed(row_K: F64, moves: Sequence[State], origin: State | None) -> State:
    mixed: dict[str, F32] = {}
    for name in moves[0]:
        move = sum(weight * one[name] for weight, one in zip(row_K, moves, strict=True))
        mixed[name] = np.asarray(move if origin is None else origin[name] + move, np.float32)
    return mixed


def _softmax(logits_K: F64) -> F64:
    weights_K = np.exp(logits_K - logits_K.max())
    return weights_K / weights_K.sum()
