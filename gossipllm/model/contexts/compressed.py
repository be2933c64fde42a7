"""A base to one whose blocks outside a window are compressed: the same names, the same window, less of the rest.

What is not compressed is not copied: window, embeddings, norm and head are the base's own modules, so adapters
beside the window's layers stay where they are. A block that is left out becomes a `Skipped` at its index.
A base may come with its blocks on the meta device; then each is filled when its turn comes and compressed before
the next, so that a small device never holds the large model.

Nothing before the window asks for a gradient, so nothing is kept of it. What lies behind the window is frozen but
must be gone through backwards: `checkpointed` keeps only the inputs of its blocks.
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
    window: BlockWindow,
    config: ContextConfig,
    *,
    fitted: Mapping[str, torch.Tensor] | None = None,
    consume: bool = False,
    fill: Fill | None = None,
) -> PreTrainedModel:
    """`model` with all blocks outside `window` as `config` has them; "distil" needs what `distil` has `fitted`.

    With `consume` the blocks of `model` itself are replaced, which frees their memory; otherwise the model stays
    as it is, and what comes back shares with it all that is not replaced. `fill` needs `consume`. Raises
    `ValueError` where the window does not fit or an argument is missing.
    """
    if config.operator == "distil" and fitted is None:
        raise ValueError('operator "distil" needs the fitted tensors')
    if fill is not None and not consume:
        raise ValueError("fill needs consume: blocks that are filled would stay in the model")
    prefix, own = blocks_name(model), list(blocks_of(model))
    outside, stays = window.outside(len(own)), _stays(window, config, len(own))
    pair = len(stays) < len(outside) and returns_tuples(model)
    if not consume:
        model = shadow(model, kept=(model.config, *own[window.first : window.end]))
    blocks = blocks_of(model)
    for index in range(len(blocks)):
        name = f"{prefix}.{index}"
        if index in outside and index not in stays:
            blocks[index] = Skipped(pair=pair)
        elif index in outside and config.operator == "distil":
            assert fitted is not None, "it was looked for above"
            blocks[index] = _with(blocks[index], model.config, name, fitted)
        elif fill is not None:
            fill(name, blocks[index])
        if index in outside and config.operator in ("int8", "int4"):
            pack(blocks[index], 8 if config.operator == "int8" else 4)
    return model


@contextmanager
def checkpointed(model: PreTrainedModel, window: BlockWindow) -> Generator[None]:
    """Let passes keep only the inputs of the window's blocks and of those behind it, and compute the rest twice.

    The backward pass may come later, but adapters beside the layers must still be what they were.
    """
    blocks = [block for block in list(blocks_of(model))[window.first :] if not isinstance(block, Skipped)]
    twice = cast("Any", checkpoint).checkpoint
    for block in blocks:
        # On the instance, so that no module gets another name. A frozen model draws no random numbers.
        block.forward = partial(twice, block.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _stays(window: BlockWindow, config: ContextConfig, blocks: int) -> set[int]:
    """The places outside the window where a block will stand."""
    match config.operator:
        case "drop":
            return set(staying(window, config, blocks))
        case "distil":
            return {run[0] for run in runs(window, config, blocks)}
        case "none" | "int8" | "int4":
            return set(window.outside(blocks))


def _with(
    block: torch.nn.Module, config: object, name: str, fitted: Mapping[str, torch.Tensor]
) -> torch.nn.Module:
    """`block` with other numbers, in the type and on the device of its own."""
    swapped: list[tuple[object, object]] = []
    for key, value in parameters_of(block).items():
        new = fitted[f"{name}.{key}"]
        where = new.device if value.device.type == "meta" else value.device
        swapped.append((value, torch.nn.Parameter(new.to(where, value.dtype), requires_grad=False)))
    return shadow(block, kept=(config,), swapped=swapped)
