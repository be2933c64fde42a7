"""The memory that a training step takes: an estimate from the model's shape, without its numbers.

The estimate counts the base, which stays whole for measuring or, where it is held in 8 or 4 bits, is packed except for
the block window; the context's own copies; the adapter, its gradient and moments; and the activations of what goes
through the model at a time. The interpreter and its libraries, some hundred MB, come on top. The model may be on the
meta device.

Checked against the growth of a fresh process's resident memory, from loading a model with random weights to two steps
on one core: a Llama of 8 blocks of width 256 (80 to 410 MB) and GPT-2's shape with 6 and 12 blocks (490 to 2,070 MB),
in float32 and bfloat16, windows of 128 and 512 tokens, all blocks and two of them, with checkpoints, dropped and 8-bit
contexts, LoRA and full training. The estimate was 1.00 to 1.28 times the growth, the most for the Llama. Dropout's part
is counted from the tensors that it keeps, not measured.

A base held in 8 or 4 bits was checked the same way: Llamas of 8 blocks of width 256 and 12 of width 768 (170 to 370
MB), both types, windows of 128 and 512 tokens, one, two and all blocks, LoRA and full training. The estimate was 1.05
to 1.27 times the growth, where each freed tensor goes back to the system at once, as where memory_mb is given
(`model.heap`). With glibc's own settings, which leave holes between what is kept, it was 0.71 to 0.85 times, 0.55 with
all blocks open, and 0.90 to 0.91 times with the base whole.

LoRA on all layers of a Llama of 8 blocks of width 512, 8 windows of 256 tokens (`benchmarks/adapter_memory.py`): 1.14
to 1.16 times the growth with the base whole or packed, 1.04 with checkpoints, 0.92 with micro-batches of one window,
0.82 with both and 0.65 with both over a base in 4 bits. Where a step takes little, the logits of measuring weigh more,
which are up to 32 MB and are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from gossipllm.config import LearnerConfig
from gossipllm.learning.passes.losses import block_bytes
from gossipllm.learning.passes.memory.token_memory import dropout_bytes, head_bytes, input_bytes, layer_bytes
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.blocks import blocks_of
from gossipllm.model.contexts.config import ContextConfig
from gossipllm.model.contexts.quantised import packed_in
from gossipllm.model.loading.models import Base

_INT4_BITS: Final = 4.25
"""Bits of a weight in four bits, with its part of a scale."""
_THROUGH: Final = 0.8
"""Activations of a block that gradients only pass through, as a share of those of a trained block: the inputs of its
linear layers are not kept. Measured: 0.77 for a Llama, 0.78 for GPT-2."""


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes that a training step holds, by what holds them."""

    base: int
    context: int
    """Copies of blocks outside the block window, or blocks that are opened from 8 or 4 bits."""
    adapter: int
    """The adapter, its gradient and moments."""
    activations: int

    @property
    def total(self) -> int:
        return self.base + self.context + self.adapter + self.activations


def step_bytes(config: LearnerConfig, base: Base, blueprint: Blueprint, count: int) -> int:
    """Estimate of the bytes that a step holds which trains the first `count` blocks."""
    return step_memory(config, base, blueprint, count).total


def step_memory(config: LearnerConfig, base: Base, blueprint: Blueprint, count: int) -> StepMemory:
    """The estimate for a step that trains the first `count` blocks, by its parts."""
    layers, item = config.layers, base.dtype.itemsize
    blocks = blocks_of(base.model)
    block, opened = max(map(_bytes, blocks)), max(_opened_bytes(one, item) for one in blocks)
    outside = blueprint.layers - count
    students = ContextConfig(ratio=layers.ratio).kept(outside)
    match layers.context:
        case "int8" | "int4" if opened:
            # The base itself is packed but for the window.
            computed, copied = blueprint.layers, float(count * opened)
        case "none":
            computed, copied = blueprint.layers, 0.0
        case "int8":
            computed, copied = blueprint.layers, outside * block / item
        case "int4":
            computed, copied = blueprint.layers, outside * block / item * _INT4_BITS / 8
        case "drop":
            computed, copied = count + students, 0.0
        case "distil":
            computed, copied = count + students, float(students * block)
    names = set(blueprint.tensors_of(blueprint.units_in(0, count)))
    whole = sum(spec.count for spec in blueprint.layout.tensors)
    trained = sum(spec.count for spec in blueprint.trained.tensors if spec.name in names)
    # The whole state, once as float32 and once in the layers. Of the trained part five float32 vectors (parameters,
    # gradient, both moments, scratch) and, in the base's type, leaves and their gradients.
    adapter = whole * (4 + item) + trained * (5 * 4 + 2 * item)
    tokens = config.training.at_once(config.data.window_tokens) * config.data.window_tokens
    dropout = dropout_bytes(base, blueprint)
    kept = layer_bytes(base) * (count + _THROUGH * (computed - count)) + dropout * computed
    if layers.checkpoint:
        kept = layer_bytes(base) + dropout + input_bytes(base) * computed
    head = head_bytes(base) * tokens + block_bytes(tokens, base.vocabulary, base.device)
    return StepMemory(_bytes(base.model), round(copied), adapter, round(tokens * kept) + head)


def _bytes(module: torch.nn.Module) -> int:
    """Bytes of all weights of a module; packed weights count at their packed size."""
    packed = sum(value.nbytes for layer in packed_in(module) for value in layer.buffers())
    return packed + sum(value.nbytes for value in module.parameters())


def _opened_bytes(block: torch.nn.Module, item: int) -> int:
    """How much more a packed block takes while it is in full precision; 0 where it is not packed."""
    wide = sum(layer.inputs * layer.outputs * item for layer in packed_in(block))
    return wide - sum(value.nbytes for layer in packed_in(block) for value in layer.buffers())
