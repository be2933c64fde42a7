"""How many parameters each way of training trains, exactly, from shapes alone.

A model on the meta device has shapes and no memory, so that eight billion parameters are counted in a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from gossipllm.model.blocks import blocks_of, final_norm_of, linears_of, own_head_of


def on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """A causal language model of this shape that holds no numbers."""
    with torch.device("meta"):
        return cast("Any", AutoModelForCausalLM).from_config(config)


def window_count(model: PreTrainedModel, count: int = 1, *, first: int = 0) -> int:
    """All parameters of `count` blocks from `first`, of the final norm, and of the head if it is not the embeddings."""
    blocks = list(blocks_of(model))[first : first + count]
    if len(blocks) != count:
        raise ValueError(
            f"count must leave {count} blocks from {first} on, the model has {len(blocks_of(model))}"
        )
    head = own_head_of(model)
    parts = [*blocks, final_norm_of(model), *([head] if head is not None else [])]
    return _size(value for part in parts for value in part.parameters())


def lora_count(model: PreTrainedModel, rank: int, modules: Collection[str] | None = None) -> int:
    """LoRA's two factors beside the linear layers whose name ends in one of `modules`; None: all but the head."""
    head = cast("Any", model).get_output_embeddings()
    return sum(
        rank * sum(linear.weight.shape)
        for name, linear in linears_of(model).items()
        if linear is not head and (modules is None or name.rpartition(".")[2] in modules)
    )


def bias_count(model: PreTrainedModel) -> int:
    """The biases of the blocks and of the final norm (BitFit, 2106.10199)."""
    parts = (blocks_of(model), final_norm_of(model))
    return _size(
        value
        for part in parts
        for name, value in part.named_parameters()
        if name.rpartition(".")[2] == "bias"
    )


def _size(values: Iterable[torch.Tensor]) -> int:
    return sum(value.numel() for value in values)
