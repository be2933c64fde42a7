"""How the frozen linear layers of a base are packed, by the value of `ModelConfig.held`, and where that is possible.

bitsandbytes' layers quantise as they are moved to a CUDA device, and compute with kernels of their own (QLoRA, Dettmers
et al., arXiv 2305.14314). Our own 8 and 4 bits need no library and work on any device.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, cast

import torch
from transformers.pytorch_utils import Conv1D

from gossipllm.config import ModelConfig
from gossipllm.config.choices import PACKED_BITS
from gossipllm.model.blocks import Linear
from gossipllm.model.contexts.quantised import packed
from trust.errors import UserMistake
from trust.extras import install_command

Packer: TypeAlias = Callable[[Linear], torch.nn.Module]
"""A linear layer -> one that computes alike with packed weights."""


def check_held(config: ModelConfig) -> None:
    """Raises `UserMistake` where this device or its libraries cannot hold a base so."""
    if config.held != "nf4":
        return
    if config.device in ("cpu", "mps") or not torch.cuda.is_available():
        raise UserMistake(
            'model.held = "nf4" needs a CUDA device, and there is none: take "int4", which any device holds'
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserMistake(f'model.held = "nf4" needs bitsandbytes: {install_command("cuda")}, or take "int4"')


def packer(held: str | int) -> Packer:
    """The packer for a value of `ModelConfig.held`, or for a number of bits."""
    bits = held if isinstance(held, int) else PACKED_BITS.get(held)
    return _nf4 if bits is None else partial(packed, bits=bits)


def _nf4(linear: Linear) -> torch.nn.Module:
    """`linear` as bitsandbytes' 4-bit layer, on the device of its weights."""
    # By name, because it is no part of every installation.
    layers: Any = importlib.import_module("bitsandbytes").nn
    weight = linear.weight.detach()
    weight_OI = weight.T.contiguous() if isinstance(linear, Conv1D) else weight
    outputs, inputs = weight_OI.shape
    layer: Any = layers.Linear4bit(
        inputs, outputs, bias=False, compute_dtype=weight.dtype, quant_type="nf4", device="meta"
    )
    layer.weight = layers.Params4bit(weight_OI.cpu(), requires_grad=False, quant_type="nf4")
    # The move is what quantises; the bias, where there is one, is on the device already.
    layer.to(weight.device)
    layer.bias = linear.bias
    return cast("torch.nn.Module", layer)
