"""Dropped contexts: leaving out blocks in place, so that the other blocks keep their names.

The blocks that stay are spread evenly over those outside the block window, as in Offsite-Tuning (2302.04870).
"""

from __future__ import annotations

import torch

from gossipllm.model.contexts.config import BlockWindow, ContextConfig


class Skipped(torch.nn.Module):
    """Takes the place of a block and returns its input, so that the list of blocks keeps its length and its indices.

    `returns_tuple`: the blocks of some families return a tuple that begins with the hidden states. Models read the kind
    of a block or of its attention off the block, so it has the attributes of the block that it stands for.
    """

    def __init__(self, *, returns_tuple: bool, instead_of: torch.nn.Module) -> None:
        super().__init__()
        hidden = ("training", "forward")
        plain = {
            key: value
            for key, value in vars(instead_of).items()
            if not key.startswith("_") and key not in hidden
        }
        self.__dict__.update(plain)
        self.returns_tuple = returns_tuple

    def forward(
        self, hidden_BTH: torch.Tensor, *_: object, **__: object
    ) -> torch.Tensor | tuple[torch.Tensor, None]:
        return (hidden_BTH, None) if self.returns_tuple else hidden_BTH


def staying(block_window: BlockWindow, config: ContextConfig, blocks: int) -> list[int]:
    """The blocks outside the block window that stay: the first, the last and others evenly between them, or only the
    middle one."""
    outside = block_window.outside(blocks)
    count = config.kept(len(outside))
    if count == 0:
        return []
    if count == 1:
        return [outside[len(outside) // 2]]
    stride = (len(outside) - 1) / (count - 1)
    return [outside[round(index * stride)] for index in range(count)]
