"""Parts of the way from one adapter to another, which are tried on the trust split."""

from __future__ import annotations

from typing import Final

import numpy as np

from gossipllm.model.adapter.names import State

SHARES: Final = (1.0, 0.5, 0.25)
"""Parts of the way of steps that are tried."""


def part_of_way(start: State, end: State, part: float) -> State:
    """The adapter at this part of the way. Tensors that no step changed stay the same object."""
    if part == 1:
        return end
    return {
        name: value
        if end[name] is value
        else (value + np.float32(part) * (end[name] - value)).astype(np.float32)
        for name, value in start.items()
    }
