"""Leaving blocks out, in place, so that all others keep their names.

Which: those spread evenly over the blocks outside the window stay, as in Offsite-Tuning (2302.04870).
"""

from __future__ import annotations

import torch

from gossipllm.model.contexts.config import BlockWindow, ContextConfig


class Skipped(torch.nn.Module):
    """Stands for a block and gives back what it is given: the list keeps its length, its neighbours their index.

    `pair`: blocks of some families return a tuple, whose first is the hidden states.
    """

    def __init__(self, *, pair: bool) -> None:
        super().__init__()
        self.pair = pair

    def forward(
        self, hidden_BTH: torch.Tensor, *_: object, **__: object
    ) -> torch.Tensor | tuple[torch.Tensor, None]:
        return (hidden_BTH, None) if self.pair else hidden_BTH


def staying(window: BlockWindow, config: ContextConfig, blocks: int) -> list[int]:
    """The blocks outside the window that stay: first and last of them and evenly between, or the middle one."""
    outside = window.outside(blocks)
    count = config.kept(len(outside))
    if count == 0:
        return []
    if count == 1:
        return [outside[len(outside) // 2]]
    stride = (len(outside) - 1) / (count - 1)
    return [outside[round(index * stride)] for index in range(count)]
