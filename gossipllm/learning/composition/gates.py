"""Fits the gates of the second adapter to text that local steps never read and no decision judges by.

Adam on the logarithms of the gates: with B2 scaled by its gate, d loss / d log g of a block is the sum of the loss's
gradient times B2 over the block. One backward pass gives all of them. Text that was trained on would not do: the own
adapter knows it already, so that nothing that neighbours know would seem to be missing.

Axes: L blocks and, as entry 0, what lies outside all blocks.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from gossipllm.learning.composition.parts import LEAST_GATE, MOST_GATE, Gates, regated
from gossipllm.learning.jobs.jobs import Task, slope_of
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import B, State
from gossipllm.text.windows import Windows
from trust.rows.config import Reduction
from wire.floats import F32

STEPS: Final = 5
"""Passes in a round. Guess: they cost about as much as 5 of its local steps, and gates go on from round to round."""
RATE: Final = 0.2
"""Most that a step changes the logarithm of a gate by, about. Guess."""
HELD_SHARE: Final = 8
"""One in so many training windows is held back for the gates."""
MOST_HELD: Final = 16
"""Windows held back at most."""

_BETAS: Final = (0.8, 0.95)


def held_back(train_WT: Windows) -> tuple[Windows, Windows]:
    """The windows to train on, and those for the gates, spread over the text; none of too little text."""
    count = min(MOST_HELD, len(train_WT) // HELD_SHARE)
    chosen = np.zeros(len(train_WT), np.bool_)
    if count:
        chosen[np.linspace(0, len(train_WT) - 1, count).astype(np.int64)] = True
    return train_WT[~chosen], train_WT[chosen]


def fitted(
    form: Blueprint, whole: State, gates: Gates, windows_WT: Windows, reduction: Reduction
) -> Task[tuple[Gates, dict[str, F32]]]:
    """The gates with the lowest loss that was met, and the adapter with them. `form` is of one part."""
    logs_L = np.log(np.asarray(gates, np.float64))
    best, best_L = math.inf, logs_L
    first_L, second_L = np.zeros_like(logs_L), np.zeros_like(logs_L)
    now_L = logs_L
    for step in range(1, STEPS + 1):
        state = regated(form, whole, _ratios(now_L, logs_L))
        at = yield from slope_of(state, windows_WT, reduction)
        slope_L = _slopes(form, state, at.gradient)
        if not (math.isfinite(at.loss) and np.isfinite(slope_L).all()):
            break
        if at.loss < best:
            best, best_L = at.loss, now_L
        first_L = _BETAS[0] * first_L + (1 - _BETAS[0]) * slope_L
        second_L = _BETAS[1] * second_L + (1 - _BETAS[1]) * slope_L**2
        mean_L, square_L = first_L / (1 - _BETAS[0] ** step), second_L / (1 - _BETAS[1] ** step)
        now_L = now_L - RATE * mean_L / (np.sqrt(square_L) + 1e-12)
        now_L = np.clip(now_L, math.log(LEAST_GATE), math.log(MOST_GATE))
    return tuple(np.exp(best_L).tolist()), regated(form, whole, _ratios(best_L, logs_L))


def _ratios(now_L: np.ndarray, before_L: np.ndarray) -> Gates:
    return tuple(np.exp(now_L - before_L).tolist())


def _slopes(form: Blueprint, whole: State, gradient: State) -> np.ndarray:
    slope_L = np.zeros(form.layers + 1)
    for name, value in whole.items():
        if name.endswith(B):
            inner = np.vdot(gradient[name][:, form.rank :], value[:, form.rank :])
            slope_L[form.layer_of(name) + 1] += float(inner)
    return slope_L
