"""The length of the block window: how many blocks a peer trains at a time.

The configuration gives the number of blocks, or the memory that a training step may take. From memory, the number
follows by the estimate for the first block window, which takes the most, because gradients pass through all blocks
behind it (`step_memory`).
"""

from __future__ import annotations

from typing import Final

from gossipllm.config import LearnerConfig
from gossipllm.learning.passes.memory.step_memory import step_bytes
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.loading.models import Base
from trust.errors import UserMistake

_MB: Final = 10**6


def block_window_count(config: LearnerConfig, base: Base, blueprint: Blueprint) -> int:
    """The number of blocks trained in a round, 0 for all. Raises `UserMistake` where the model has fewer, or the memory
    is too small for one."""
    layers, blocks = config.layers, blueprint.layers
    if not layers.partial:
        return 0
    if not blocks:
        raise UserMistake("layers.count: this model has no list of blocks; take 0, which trains all of it")
    if layers.count > blocks:
        raise UserMistake(f"layers.count is {layers.count}, but the model has {blocks} blocks")
    if layers.count:
        return layers.count
    budget = layers.memory_mb * _MB
    fitting = [
        count for count in range(1, blocks + 1) if step_bytes(config, base, blueprint, count) <= budget
    ]
    if not fitting:
        least = -(-step_bytes(config, base, blueprint, 1) // _MB)
        raise UserMistake(
            f"layers.memory_mb is {layers.memory_mb}, but training one block takes about {least}; allow more, or "
            f"lower training.micro_windows or data.window_tokens, or set layers.checkpoint = true"
        )
    return max(fitting)
