"""The order in which a learner reads its text: a function of (seed, round, step), so that a repeated round is the same.

Read "once" (`TrainingConfig.order`), it is a function of the seed and of the steps taken since the beginning instead.

Axes: W windows, S steps, B windows of a batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import TrainingConfig
from gossipllm.randomness import permutation, words


def batches(
    windows: int, config: TrainingConfig, *, round_number: int, steps: int, taken: int = 0
) -> NDArray[np.int64]:
    """`(S, B)`, the indices of the windows that each step trains on, after steps that were `taken` in earlier rounds.

    A round walks through shuffles of all windows, one after the other; no batch holds a window twice. Read "once", it
    goes on where the last one ended.
    """
    once = config.order == "once"
    shuffles, begin = (0, taken) if once else (round_number, 0)
    size = min(config.batch_windows, windows)
    each = windows // size
    rows = np.empty((steps, size), np.int64)
    for step in range(steps):
        pass_, place = divmod(begin + step, each)
        rows[step] = _order(config.seed, shuffles, pass_, windows)[place * size : (place + 1) * size]
    return rows


def drawn(windows: int, count: int, parts: tuple[str | int, ...]) -> NDArray[np.int64]:
    """`count` indices drawn with replacement. Probabilities differ from uniform by less than windows / 2^32."""
    return (words("gossipllm/drawn/1", parts, count) % np.uint32(windows)).astype(np.int64)


# The fleets of a simulation ask for the same orders learner by learner and step by step.
@lru_cache(maxsize=64)
def _order(seed: int, round_number: int, pass_: int, windows: int) -> NDArray[np.int64]:
    return permutation("gossipllm/batches/1", (seed, round_number, pass_), windows)
