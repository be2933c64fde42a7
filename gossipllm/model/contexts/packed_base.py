"""A base held in 8 or 4 bits, for a learner that is alone in its process and never has the whole model in memory.

Between trainings the linear layers of all blocks are packed, so that everything measured (losses, predictions,
candidate rows) is measured on the same model, whichever block window was trained before: a peer's measurements of its
neighbours do not depend on the draw. For training, the layers of the block window are read from the model's files again
in full precision, and packed again afterwards. The alternative is to keep the block window in full precision until the
next one is drawn: with a draw each round it reads as often, and each measurement would be made on a different model.

Packed weights depend on the file alone, so a block that is unpacked and packed again has the same bits. Only weights of
linear layers are packed; biases, norms, embeddings and head stay in full precision, and adapters find their layers by
name as before. Measurements are those of the packed model: the embedded model's predictions lie 6e-5 nats (8 bits) or
9e-3 nats (4 bits) from the base's, and measuring takes a third more time on one core.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from gossipllm.model.blocks import Linear, blocks_name, blocks_of, linears_of, plain, replace
from gossipllm.model.contexts.config import BlockWindow
from gossipllm.model.contexts.held import Packer
from gossipllm.model.heap import release_freed_memory
from gossipllm.model.loading.weights import Weights


class HeldPacked:
    """Packs a model whose blocks are hollow: each block is filled and packed before the next is filled."""

    def __init__(self, model: PreTrainedModel, weights: Weights, packed: Packer) -> None:
        self._blocks = blocks_of(model)
        self._prefix = blocks_name(model)
        self._weights = weights
        self._packed = packed
        self._hollow: dict[str, Linear] = {}
        """The layers that were replaced by packed ones, by name, without their weights."""
        for index, block in enumerate(self._blocks):
            weights.fill(block, prefix=f"{self._prefix}.{index}.")
            self._pack(index)
            release_freed_memory()

    @contextmanager
    def opened(self, block_window: BlockWindow) -> Generator[None]:
        """Within the context manager, the blocks of the block window are in full precision; afterwards all blocks are
        packed. Raises `UserMistake` where the model's files have changed, with all blocks packed."""
        try:
            for index in range(block_window.first, block_window.end):
                self._unpack(index)
            yield
        finally:
            # All blocks, not only the block window's: packing may have run out of memory the last time.
            for index in range(len(self._blocks)):
                self._pack(index)
            release_freed_memory()

    def _unpack(self, index: int) -> None:
        prefix = f"{self._prefix}.{index}."
        for name, linear in self._hollow.items():
            if name.startswith(prefix):
                value = self._weights.read(plain(f"{name}.weight"))
                linear.weight = torch.nn.Parameter(value, requires_grad=False)
                replace(self._blocks[index], name.removeprefix(prefix), linear)

    def _pack(self, index: int) -> None:
        """Pack the layers of a block that are not packed yet."""
        block = self._blocks[index]
        for name, linear in linears_of(block).items():
            replace(block, name, self._packed(linear))
            linear.weight = torch.nn.Parameter(linear.weight.to("meta"), requires_grad=False)
            self._hollow[f"{self._prefix}.{index}.{name}"] = linear
