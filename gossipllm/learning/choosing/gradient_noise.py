"""The simple noise scale of a learner's gradients: how many tokens a batch needs before its gradient is mostly signal.

From the gradients `g` of single windows: `tr(S) / |G|^2` times the tokens of a window, with the unbiased estimates of
both by the mean square of `g` and the square of their mean (McCandlish et al. 2018, 1812.06162, appendix A.1, for
batches of one and of all windows).
"""

from __future__ import annotations

import math
import time
from typing import Final

import numpy as np

from gossipllm.learning.jobs.jobs import SlopeDone, SlopeJob, Task
from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Windows

WINDOWS: Final = 16
"""Windows whose gradients are taken. With 16 of 64 the estimates of one text differed by a factor of up to 1.7, those
of French and English by 20."""
_LEAST: Final = 4
MOST_TIMES: Final = 1e3
"""The most that is reported, in windows: no mean can be told from zero by so few."""


def noise_of(state: State, windows_WT: Windows, *, seconds: float = math.inf) -> Task[float]:
    """The noise scale in tokens, of an adapter in this state; 0 where too few windows fit into the text or the time."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(windows_WT))[:WINDOWS]
    began, done = time.monotonic(), 0
    total: dict[str, np.ndarray] = {}
    squares = 0.0
    for row in rows:
        slope: SlopeDone = yield SlopeJob(state, windows_WT[row : row + 1])
        for name, value in slope.gradient.items():
            total[name] = total.get(name, 0.0) + value.astype(np.float64)
            squares += float(np.square(value, dtype=np.float64).sum())
        done += 1
        if (time.monotonic() - began) * (1 + 1 / done) > seconds:
            break
    if done < _LEAST:
        return 0.0
    small = squares / done
    big = sum(float(np.square(value / done).sum()) for value in total.values())
    return windows_WT.shape[1] * _scale(small, big, done)


def _scale(small: float, big: float, count: int) -> float:
    """By the mean square of the gradients of `count` windows and the square of their mean, in windows."""
    signal = (count * big - small) / (count - 1)
    noise = (small - big) * count / (count - 1)
    if not math.isfinite(noise) or noise <= 0:
        return 0.0
    return min(MOST_TIMES, noise / signal) if signal > 0 else MOST_TIMES
