"""Settings of a context: the trained block window, and what becomes of the other blocks. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from gossipllm.config.choices import ContextOperator


@dataclass(frozen=True, slots=True)
class BlockWindow:
    """The blocks that are trained together: `count` consecutive blocks from index `first` on."""

    first: int
    count: int = 1

    def __post_init__(self) -> None:
        if self.first < 0 or self.count < 1:
            raise ValueError(f"first must be at least 0 and count at least 1, got {self.first}, {self.count}")

    @property
    def end(self) -> int:
        return self.first + self.count

    def __contains__(self, block: object) -> bool:
        return isinstance(block, int) and self.first <= block < self.end

    def outside(self, blocks: int) -> list[int]:
        """The indices of all other blocks of a model of `blocks` blocks. Raises `ValueError` where it has too few."""
        if self.end > blocks:
            raise ValueError(f"the block window ends at block {self.end}, the model has {blocks}")
        return [block for block in range(blocks) if block not in self]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextConfig:
    operator: ContextOperator = "int8"
    """What becomes of the blocks outside the block window: "none" leaves them, "int8" and "int4" round their weights,
    "drop" leaves some out, "distil" fits fewer to do the work of all. int8 is all but lossless: the
    embedded model's predictions lie 6e-5 nats from the base's, with int4 1e-2."""

    ratio: float = 0.5
    """Of the blocks outside the block window, the share that "drop" and "distil" keep, above 0 to 1, rounded up."""

    alpha: float = 0.5
    """Weight of the attention maps' divergence against the hidden states' error in "distil", 0 to 1. Guess. Two
    students for three blocks of the embedded model end at 0.32, 0.20 (first block trained, last block) nats from the
    base with 0.5, at 0.31 and 0.16 with 0, at 0.37 and 0.41 with 0.9; dropping one of the three, at 1.01 and 0.86."""

    steps: int = 100
    """Optimiser steps for each distilled block, 0 to 100,000. Guess."""

    batch_windows: int = 4
    """Reference windows in one step of "distil", 1 to 4,096. Guess."""

    learning_rate: float = 1e-3
    """Peak rate of AdamW in "distil", above 0 to 1; it falls to zero along a line. Guess: the embedded model does
    better still with 2e-3, larger ones bear less."""

    seed: int = 0
    """Seed of the order of the reference windows in "distil", 0 to 2^31 - 1."""

    def __post_init__(self) -> None:
        if self.operator not in get_args(ContextOperator):
            raise ValueError(
                f"operator must be one of {', '.join(get_args(ContextOperator))}, got {self.operator!r}"
            )
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1], got {self.ratio}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in 0..1, got {self.alpha}")
        if not 0 <= self.steps <= 100_000:
            raise ValueError(f"steps must be in 0..100000, got {self.steps}")
        if not 1 <= self.batch_windows <= 4096:
            raise ValueError(f"batch_windows must be in 1..4096, got {self.batch_windows}")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"learning_rate must be in (0, 1], got {self.learning_rate}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be in 0..2^31 - 1, got {self.seed}")

    def kept(self, outside: int) -> int:
        """How many of `outside` blocks "drop" and "distil" keep."""
        # The product of a decimal fraction and a count may lie a rounding above the whole number it means.
        return math.ceil(self.ratio * outside - 1e-9)
