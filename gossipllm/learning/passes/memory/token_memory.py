"""Estimates of the bytes that a training pass keeps for one token, from the widths of the model."""

from __future__ import annotations

from typing import Any, cast

from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A
from gossipllm.model.blocks import stated, stated_depth, stated_width
from gossipllm.model.loading.models import Base


def training_bytes(base: Base) -> int:
    """Estimate of the bytes that a training pass keeps for one token."""
    return layer_bytes(base) * max(stated_depth(base.model), 1) + head_bytes(base)


def layer_bytes(base: Base) -> int:
    """Estimate of the bytes that a training pass keeps for one token in one layer, from the layer's widths."""
    width = stated_width(base.model)
    # Some families state a width for each layer.
    wide: Any = stated(base.model, "intermediate_size") or stated(base.model, "n_inner") or 4 * width
    inner = int(max(cast("list[int]", wide))) if isinstance(wide, list | tuple) else int(wide)
    # A layer keeps about a dozen tensors of its width, some of them float32, and four of the inner width.
    return width * (8 * base.dtype.itemsize + 24) + inner * 4 * base.dtype.itemsize


def dropout_bytes(base: Base, blueprint: Blueprint) -> int:
    """Bytes that dropout keeps for one token in one layer: of each input of an A a mask and a copy."""
    if not blueprint.config.dropout:
        return 0
    inputs = sum(spec.shape[1] for spec in blueprint.layout.tensors if spec.name.endswith(A))
    return inputs // max(blueprint.layers, 1) * (1 + base.dtype.itemsize)


def head_bytes(base: Base) -> int:
    """Bytes that a training pass keeps for one token at the head: its logits and their gradient."""
    return base.vocabulary * 2 * base.dtype.itemsize


def input_bytes(base: Base) -> int:
    """Bytes of a block's input for one token: what a checkpointed block keeps."""
    return stated_width(base.model) * base.dtype.itemsize
