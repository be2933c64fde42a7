"""Distilled contexts as bytes: their key, their encoding, and the checks before a context from another peer is used.

The bytes are safetensors with the students' parameters in bfloat16 and nothing else. Names and shapes follow from the
base and the block window; `fidelity` measures whether the numbers are good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import safetensors
import torch
from safetensors.torch import save
from transformers import PreTrainedModel

from gossipllm.model.blocks import blocks_name, blocks_of, parameters_of
from gossipllm.model.contexts.config import BlockWindow, ContextConfig
from gossipllm.model.contexts.distilled import DTYPE, runs
from wire.digest import fingerprint_of
from wire.errors import WireError

_HEADER_BYTES: Final = 1_024
"""More than a safetensors header holds for one tensor: type, shape, offsets, and a name of a few hundred letters."""


def context_key(base: bytes, reference: bytes, block_window: BlockWindow, config: ContextConfig) -> bytes:
    """32 bytes that identify a context by everything it depends on; `base` and `reference` are fingerprints."""
    numbers = (
        block_window.first,
        block_window.count,
        config.ratio,
        config.alpha,
        config.steps,
        config.batch_windows,
        config.learning_rate,
        config.seed,
    )
    words = [config.operator, *(repr(number) for number in numbers)]
    return fingerprint_of("gossipllm/context/1", [base, reference, *(word.encode() for word in words)])


def fitted_shapes(
    model: PreTrainedModel, block_window: BlockWindow, config: ContextConfig
) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the tensors that `distil` fits. The model may be on the meta device."""
    prefix, blocks = blocks_name(model), blocks_of(model)
    return {
        f"{prefix}.{run[0]}.{key}": tuple(value.shape)
        for run in runs(block_window, config, len(blocks))
        for key, value in parameters_of(blocks[run[0]]).items()
    }


def most_bytes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The most bytes that an encoded context can have: the limit for fetching it."""
    return sum(2 * torch.Size(shape).numel() + _HEADER_BYTES for shape in shapes.values()) + _HEADER_BYTES


def encode_context(fitted: Mapping[str, torch.Tensor]) -> bytes:
    return save({name: value.detach().to("cpu", DTYPE).contiguous() for name, value in fitted.items()})


def decode_context(data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The tensors of a context: finite, of exactly these names and shapes. Raises `WireError` for any other bytes."""
    if len(data) > most_bytes(shapes):
        raise WireError("context", f"{len(data)} bytes, at most {most_bytes(shapes)} make sense")
    try:
        found = cast("list[tuple[str, dict[str, Any]]]", cast("Any", safetensors).deserialize(data))
    except safetensors.SafetensorError as error:
        raise WireError("context", f"not safetensors: {str(error)[:80]!r}") from None
    if {name for name, _ in found} != set(shapes):
        raise WireError("context", f"holds {len(found)} tensors, not the {len(shapes)} of its blocks")
    fitted: dict[str, torch.Tensor] = {}
    for name, held in found:
        if held["dtype"] != "BF16" or tuple(held["shape"]) != shapes[name]:
            raise WireError(f"context.{name}", f"{held['dtype']} {held['shape']}, not BF16 {shapes[name]}")
        fitted[name] = torch.frombuffer(held["data"], dtype=DTYPE).view(shapes[name])
        if not bool(fitted[name].isfinite().all()):
            raise WireError(f"context.{name}", "not finite")
    return fitted
