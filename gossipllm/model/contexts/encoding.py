"""Distilled contexts as bytes: what names one, and what must hold before a stranger's is used.

The bytes are safetensors with the students' parameters in bfloat16 and nothing else. Names and shapes follow from the
base and the window; whether the numbers are good, `fidelity` measures.
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
"""Above what a safetensors header says of one tensor: its name, of at most a few hundred letters, and its place."""


def context_key(base: bytes, reference: bytes, window: BlockWindow, config: ContextConfig) -> bytes:
    """32 bytes that name the context of a base and a reference set, both by their fingerprints."""
    numbers = (
        window.first,
        window.count,
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
    model: PreTrainedModel, window: BlockWindow, config: ContextConfig
) -> dict[str, tuple[int, ...]]:
    """The names and shapes of what `distil` fits. The model may be on the meta device."""
    prefix, blocks = blocks_name(model), blocks_of(model)
    return {
        f"{prefix}.{run[0]}.{key}": tuple(value.shape)
        for run in runs(window, config, len(blocks))
        for key, value in parameters_of(blocks[run[0]]).items()
    }


def most_bytes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How long an encoded context can be, so that no more is fetched."""
    return sum(2 * torch.Size(shape).numel() + _HEADER_BYTES for shape in shapes.values()) + _HEADER_BYTES


def encode_context(fitted: Mapping[str, torch.Tensor]) -> bytes:
    return save({name: value.detach().to("cpu", DTYPE).contiguous() for name, value in fitted.items()})


def decode_context(data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Finite tensors of exactly these names and shapes. Raises `WireError` where the bytes hold anything else."""
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
