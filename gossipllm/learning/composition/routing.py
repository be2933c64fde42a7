"""A row for each block of the model, learned by gradient from the row that was chosen for all of them.

What a block takes from whom is then its own matter: a gate for each block over a bank of neighbours' adapters, as the
routers of CoMiGS (arXiv 2409.13931) are for tokens. Gates for tokens would leave no adapter that others can load.

As `merging.learned_row`, block by block, and on text that is held back for it (`gates.held_back`); the loss on the
trust split then says whether the result is taken instead of the chosen row's.

Axes: K adapters, entry 0 what neighbours are mixed into; L blocks and, as entry 0, what lies outside all blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gossipllm.learning.composition.gates import STEPS
from gossipllm.learning.jobs.jobs import Task, slope_of
from gossipllm.learning.merging.averages import F64
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Windows
from trust.rows.config import Reduction
from wire.floats import F32

_RATE = 0.5
"""Step in the logits of a row. Guess: a few steps must be able to turn a row around."""
_BETAS = (0.8, 0.95)
_LEAST = 1e-3
"""Smallest weight to start from: the logit of weight 0 is minus infinity, from which no step returns. Guess."""


def by_block(
    row: Sequence[float],
    origin: State,
    moves: Sequence[State],
    form: Blueprint,
    windows_WT: Windows,
    reduction: Reduction,
) -> Task[dict[str, F32]]:
    """The whole adapter `o + sum_k w_kl m_k` by the rows of lowest loss that were met."""
    layers = {name: form.layer_of(name) + 1 for name in origin}
    start_K = np.maximum(np.asarray(row, np.float64), _LEAST)
    logits_KL = np.repeat(np.log(start_K)[:, None], form.layers + 1, axis=1)
    first_KL, second_KL = np.zeros_like(logits_KL), np.zeros_like(logits_KL)
    best, found = math.inf, _mixed(_softmax(logits_KL), origin, moves, layers)
    for step in range(1, STEPS + 1):
        rows_KL = _softmax(logits_KL)
        state = _mixed(rows_KL, origin, moves, layers)
        at = yield from slope_of(state, windows_WT, reduction)
        partial_KL = _partials(at.gradient, moves, layers, form.layers + 1)
        if not (math.isfinite(at.loss) and np.isfinite(partial_KL).all()):
            break
        if at.loss < best:
            best, found = at.loss, state
        slope_KL = rows_KL * (partial_KL - (rows_KL * partial_KL).sum(axis=0))
        first_KL = _BETAS[0] * first_KL + (1 - _BETAS[0]) * slope_KL
        second_KL = _BETAS[1] * second_KL + (1 - _BETAS[1]) * slope_KL**2
        mean_KL, square_KL = first_KL / (1 - _BETAS[0] ** step), second_KL / (1 - _BETAS[1] ** step)
        logits_KL = logits_KL - _RATE * mean_KL / (np.sqrt(square_KL) + 1e-12)
    return found


def _mixed(rows_KL: F64, origin: State, moves: Sequence[State], layers: dict[str, int]) -> dict[str, F32]:
    mixed: dict[str, F32] = {}
    for name, value in origin.items():
        weights_K = rows_KL[:, layers[name]]
        terms = (weight * move[name] for weight, move in zip(weights_K, moves, strict=True))
        mixed[name] = np.asarray(value + sum(terms), np.float32)
    return mixed


def _partials(gradient: State, moves: Sequence[State], layers: dict[str, int], count: int) -> F64:
    partial_KL = np.zeros((len(moves), count))
    for name, slope in gradient.items():
        for k, move in enumerate(moves):
            partial_KL[k, layers[name]] += float(np.vdot(slope, move[name]))
    return partial_KL


def _softmax(logits_KL: F64) -> F64:
    weights_KL = np.exp(logits_KL - logits_KL.max(axis=0))
    return weights_KL / weights_KL.sum(axis=0)
