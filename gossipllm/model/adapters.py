"""LoRA on every linear layer but the head, for any number of adapters over one frozen base.

A layer computes `x W + alpha/rank * x A' B'` as peft's does; here A and B have a leading axis of P adapters,
and the windows of a pass are P equal groups, one for each. So P peers train, or P candidate merges are
measured, in one pass through the base: its weights are read once, and P thin products become one batched one.
A device with one adapter runs the same code with P = 1, so that what a simulation shows is what a device does.
peft's own layers hold one adapter for all windows, or one a window by name in a Python loop; what comes out here
is theirs within 1e-5, which a test establishes, and what is exported loads with peft.

A tensor's name is its module's, as the base model calls it, and `.lora_A` or `.lora_B`. The layout's order is
that of the sorted module names, A before B.

Axes: P adapters, N rows of one adapter (windows by positions); R rank, I inputs, O outputs of a module: `lora_A`
is RI, `lora_B` is OR, the update alpha/rank * B A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from gossipllm.config import AdapterConfig
from gossipllm.mistakes import UserMistake
from gossipllm.model.initial import initial_state, own_start
from gossipllm.model.names import A, B
from wire.digest import fingerprint_of
from wire.floats import F32
from wire.tensors import Layout, TensorSpec


@dataclass(frozen=True)
class Blueprint:
    """What all adapters of a network have in common. `layout` is of the whole state, trained or not."""

    layout: Layout
    config: AdapterConfig
    fan_in_fan_out: bool

    @property
    def scale(self) -> float:
        return self.config.alpha / self.config.rank

    @cached_property
    def trained(self) -> Layout:
        """The tensors that are trained, and travel."""
        if self.config.train == "both":
            return self.layout
        return Layout(tuple(spec for spec in self.layout.tensors if spec.name.endswith(B)), self.layout.codec)

    @cached_property
    def shared(self) -> Mapping[str, F32]:
        """The start that the public seed gives to everybody."""
        return initial_state(self.layout, self.config.seed)

    @property
    def fingerprint(self) -> bytes:
        """32 bytes: layout, scale and initial A. Equal shapes with another scale are other updates."""
        config = self.config
        parts = [self.layout.fingerprint, repr(float(config.alpha)).encode(), config.seed.encode()]
        # Only where they are not what they always were: existing networks keep their name.
        parts += [word.encode() for word in (config.start, config.train) if word not in ("shared", "both")]
        return fingerprint_of("gossipllm/adapter/1", parts)

    def start(self, seed: int) -> dict[str, F32]:
        """A fresh adapter; `seed` is the peer's own and counts only where each peer draws its own A."""
        if self.config.start == "own":
            return own_start(self.layout, seed)
        return {name: value.copy() for name, value in self.shared.items()}


class LoraLayer(torch.nn.Module):
    """A frozen linear layer with P adapters beside it, or none while `a_PRI` is None."""

    def __init__(self, frozen: torch.nn.Module, scale: float) -> None:
        super().__init__()
        self.frozen = frozen
        self.scale = scale
        self.a_PRI: torch.Tensor | None = None
        self.b_POR: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.frozen(x)
        if self.a_PRI is None or self.b_POR is None:
            return y
        adapters = self.a_PRI.shape[0]
        x_PNI = x.reshape(adapters, -1, x.shape[-1])
        y_PNO = y.reshape(adapters, -1, y.shape[-1])
        low_PNR = torch.bmm(x_PNI, self.a_PRI.transpose(1, 2))
        return torch.baddbmm(y_PNO, low_PNR, self.b_POR.transpose(1, 2), alpha=self.scale).view(y.shape)


@dataclass(frozen=True, eq=False)
class Attached:
    """The layers of a base that adapters go beside, by module name."""

    blueprint: Blueprint
    layers: Mapping[str, LoraLayer]


def attach(base: PreTrainedModel, config: AdapterConfig) -> Attached:
    """Put a `LoraLayer` around every linear layer of `base` but its head, in place.

    Raises `UserMistake` where there is none.
    """
    head = cast("Any", base).get_output_embeddings()
    found = {
        name: module
        for name, module in sorted(cast("Any", base).named_modules())
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    }
    if not found:
        raise UserMistake("model.name: this model has no linear layers to adapt")
    layers: dict[str, LoraLayer] = {}
    specs: list[TensorSpec] = []
    for name, module in found.items():
        inputs, outputs = _sizes(module)
        parent, _, child = name.rpartition(".")
        layers[name] = LoraLayer(module, config.alpha / config.rank)
        setattr(base.get_submodule(parent), child, layers[name])
        specs += [
            TensorSpec(name + A, (config.rank, inputs)),
            TensorSpec(name + B, (outputs, config.rank)),
        ]
    conv = any(isinstance(module, Conv1D) for module in found.values())
    return Attached(Blueprint(Layout(tuple(specs)), config, conv), layers)


def _sizes(module: torch.nn.Module) -> tuple[int, int]:
    """Inputs and outputs, which `Conv1D` stores the other way round."""
    weight = cast("torch.Tensor", module.weight)
    rows, columns = weight.shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)
