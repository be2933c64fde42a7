"""Outer momentum: what a merge's move becomes before it is taken, tensor by tensor.

With s for the adapter before the round's local steps and x for what a row makes of everybody's, the move is d = x - s:
the mean of all local steps by the row, and the step towards the mean of all starts. Then

    nesterov    m <- mu m + d,           s + rate (d + mu m)    DiLoCo (arXiv 2311.08105)
    noloco      m <- mu m + rate d,      s + m                  NoLoCo (arXiv 2506.10911), its mean by the row

NoLoCo has one rate for each of the two terms of d; with equal ones, as published, they are one. With mu = 0 and a rate
of 1 both are the plain merge. A round that merges nothing moves nothing by momentum, and m fades by mu.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossipllm.config.choices import Outer
from gossipllm.model.adapter.names import State
from wire.floats import F32


@dataclass(frozen=True, slots=True)
class OuterStep:
    """`kind` is not "none". `momentum` is mu, from 0 to below 1."""

    kind: Outer
    momentum: float
    rate: float

    def taken(self, start: State, merged: State, before: State, *, rounds: int) -> tuple[State, State]:
        """The adapter after the merge, and m. `before` is m after the last merge, `rounds` ago; empty for zero."""
        after: dict[str, F32] = {}
        memory: dict[str, F32] = {}
        # m fades in the rounds between, too.
        mu = self.momentum**rounds
        for name, value in merged.items():
            move = value - start[name]
            old = mu * before[name] if name in before else np.zeros_like(move)
            if self.kind == "nesterov":
                kept = old + move
                moved = start[name] + self.rate * (move + self.momentum * kept)
            else:
                kept = old + self.rate * move
                moved = start[name] + kept
            memory[name], after[name] = kept.astype(np.float32), moved.astype(np.float32)
        return after, memory
