"""A base held in 8 or 4 bits: for a learner that is alone in its process, which so never has the model whole.

Between trainings the linear layers of all blocks are packed, and so all measuring (losses, predictions, candidate
rows) goes through one and the same model, whatever was trained before: what a peer says of its neighbours depends on
no draw. For training, the window's layers are read from the model's files once more, in full precision, and packed
again afterwards. The alternative, the window in full precision until the next one is drawn, reads no more seldom
where windows are drawn anew each round, and would measure on a model of its own after each.

What is packed is a function of the file alone, so a block that comes and goes comes back the same, bit for bit. Only
weights of linear layers come and go. Their biases, norms, embeddings and head stay as they are, and adapters stand
around layers by name and do not notice. What is measured is the packed model: the embedded model's predictions lie 6e-5
nats (8 bits) or 9e-3 nats (4 bits) from the base's, and measuring takes a third more time on one core.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from gossipllm.model.blocks import Linear, blocks_name, blocks_of, linears_of, plain, replace
from gossipllm.model.contexts.config import BlockWindow
from gossipllm.model.contexts.quantised import packed
from gossipllm.model.heap import hand_back
from gossipllm.model.loading.weights import Weights


class HeldPacked:
    """Of a model whose blocks are hollow: each is filled when its turn comes and packed before the next."""

    def __init__(self, model: PreTrainedModel, weights: Weights, bits: int) -> None:
        self._blocks = blocks_of(model)
        self._prefix = blocks_name(model)
        self._weights = weights
        self._bits = bits
        self._hollow: dict[str, Linear] = {}
        """The layers that packed ones stand for, by name, without their weights."""
        for index, block in enumerate(self._blocks):
            weights.fill(block, prefix=f"{self._prefix}.{index}.")
            self._pack(index)
            hand_back()

    @contextmanager
    def opened(self, window: BlockWindow) -> Generator[None]:
        """Let the window's blocks be in full precision. Raises `UserMistake` where the files are not what they were;
        then, as afterwards, all blocks are packed."""
        try:
            for index in range(window.first, window.end):
                self._unpack(index)
            yield
        finally:
            # All of them: also what memory did not suffice to pack the last time.
            for index in range(len(self._blocks)):
                self._pack(index)
            hand_back()

    def _unpack(self, index: int) -> None:
        prefix = f"{self._prefix}.{index}."
        for name, linear in self._hollow.items():
            if name.startswith(prefix):
                value = self._weights.read(plain(f"{name}.weight"))
                linear.weight = torch.nn.Parameter(value, requires_grad=False)
                replace(self._blocks[index], name.removeprefix(prefix), linear)

    def _pack(self, index: int) -> None:
        """What of a block is not packed yet."""
        block = self._blocks[index]
        for name, linear in linears_of(block).items():
            replace(block, name, packed(linear, self._bits))
            linear.weight = torch.nn.Parameter(linear.weight.to("meta"), requires_grad=False)
            self._hollow[f"{self._prefix}.{index}.{name}"] = linear
