"""Compressing the blocks of a base outside a block window, with the same names of modules.

Only compressed blocks are copied: the block window, embeddings, norm and head are the base's own modules, so adapters
around the block window's layers stay in place. A block that is left out becomes a `Skipped` at its index. The blocks of
the base may be on the meta device; then each block is filled and compressed before the next is filled, so that a small
device never holds the large model.

No block before the block window needs a gradient, so autograd keeps nothing of them. The blocks after it are frozen,
but gradients pass through them: `checkpointed` keeps only their inputs.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch.utils import checkpoint
from transformers import PreTrainedModel

from gossipllm.model.blocks import Fill, blocks_name, blocks_of, parameters_of, shadow
from gossipllm.model.contexts.blockwise import returns_tuples
from gossipllm.model.contexts.config import BlockWindow, ContextConfig
from gossipllm.model.contexts.distilled import runs
from gossipllm.model.contexts.dropped import Skipped, staying
from gossipllm.model.contexts.quantised import pack


def compressed(
    model: PreTrainedModel,
    block_window: BlockWindow,
    config: ContextConfig,
    *,
    fitted: Mapping[str, torch.Tensor] | None = None,
    consume: bool = False,
    fill: Fill | None = None,
) -> PreTrainedModel:
    """`model` with all blocks outside `block_window` compressed as `config` says; "distil" needs the tensors that
    `distil` has `fitted`.

    With `consume` the blocks of `model` itself are replaced, which frees their memory; otherwise the model is unchanged
    and the returned model shares all modules that are not replaced. `fill` needs `consume`. Raises `ValueError` where
    the block window exceeds the model or an argument is missing.
    """
    if config.operator == "distil" and fitted is None:
        raise ValueError('operator "distil" needs the fitted tensors')
    if fill is not None and not consume:
        raise ValueError("fill needs consume: blocks that are filled would stay in the model")
    prefix, own = blocks_name(model), list(blocks_of(model))
    outside, stays = block_window.outside(len(own)), _stays(block_window, config, len(own))
    skipped_tuples = len(stays) < len(outside) and returns_tuples(model)
    if not consume:
        model = shadow(model, kept=(model.config, *own[block_window.first : block_window.end]))
    blocks = blocks_of(model)
    for index in range(len(blocks)):
        name = f"{prefix}.{index}"
        if index in outside and index not in stays:
            blocks[index] = Skipped(returns_tuple=skipped_tuples, instead_of=blocks[index])
        elif index in outside and config.operator == "distil":
            assert fitted is not None, "checked above"
            blocks[index] = _with(blocks[index], model.config, name, fitted)
        elif fill is not None:
            fill(name, blocks[index])
        if index in outside and config.operator in ("int8", "int4"):
            pack(blocks[index], 8 if config.operator == "int8" else 4)
    return model


@contextmanager
def checkpointed(model: PreTrainedModel, block_window: BlockWindow) -> Generator[None]:
    """Within the context manager, passes keep only the inputs of the block window's blocks and of the blocks after it,
    and compute everything within them a second time for the gradient.

    The backward pass may run after the context manager has ended, but the adapters around the layers must still be the
    same.
    """
    blocks = [
        block for block in list(blocks_of(model))[block_window.first :] if not isinstance(block, Skipped)
    ]
    twice = cast("Any", checkpoint).checkpoint
    for block in blocks:
        # An attribute of the instance hides the method, so that no wrapper changes the modules' names. The state of the
        # random numbers is not kept, because a model in evaluation mode draws none.
        block.forward = partial(twice, block.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _stays(block_window: BlockWindow, config: ContextConfig, blocks: int) -> set[int]:
    """The indices outside the block window at which a block remains."""
    match config.operator:
        case "drop":
            return set(staying(block_window, config, blocks))
        case "distil":
            return {run[0] for run in runs(block_window, config, blocks)}
        case "none" | "int8" | "int4":
            return set(block_window.outside(blocks))


def _with(
    block: torch.nn.Module, config: object, name: str, fitted: Mapping[str, torch.Tensor]
) -> torch.nn.Module:
    """`block` with the fitted numbers, in the type and on the device of its own numbers."""
    swapped: list[tuple[object, object]] = []
    for key, value in parameters_of(block).items():
        new = fitted[f"{name}.{key}"]
        where = new.device if value.device.type == "meta" else value.device
        swapped.append((value, torch.nn.Parameter(new.to(where, value.dtype), requires_grad=False)))
    return shadow(block, kept=(config,), swapped=swapped)
