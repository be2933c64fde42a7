"""LoRA on every linear layer but the head: attached through peft, named and ordered as it travels.

A tensor's name is its module's, as the base model calls it, and `.lora_A` or `.lora_B`: nothing of peft's
own prefixes, so that a peer with another version of peft has the same names. The layout's order is that of
the sorted module names, A before B.

Axes: R rank, I inputs, O outputs of a module: `lora_A` is RI, `lora_B` is OR, the update alpha/rank * B A.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from gossipllm.config import AdapterConfig
from gossipllm.mistakes import UserMistake
from gossipllm.model.initial import initial_state
from gossipllm.model.names import A, B, State
from wire.digest import fingerprint_of
from wire.floats import F32
from wire.tensors import Layout, TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """A base model with one trainable adapter; `parameters` are its live tensors in layout order."""

    model: torch.nn.Module
    parameters: Mapping[str, torch.nn.Parameter]
    layout: Layout
    config: AdapterConfig
    fan_in_fan_out: bool

    @property
    def scale(self) -> float:
        return self.config.alpha / self.config.rank

    @property
    def fingerprint(self) -> bytes:
        """32 bytes: layout, scale and initial A. Equal shapes with another scale are other updates."""
        parts = (self.layout.fingerprint, repr(float(self.config.alpha)).encode(), self.config.seed.encode())
        return fingerprint_of("gossipllm/adapter/1", parts)

    def state(self) -> dict[str, F32]:
        """A copy of the adapter as it is."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.parameters.items()}

    @torch.no_grad()
    def set_state(self, state: State) -> None:
        """Make `state` the adapter. The tensors stay the same objects, so optimisers keep their hold."""
        for name, parameter in self.parameters.items():
            parameter.copy_(torch.tensor(state[name]))


def attach(base: PreTrainedModel, config: AdapterConfig) -> Adapter:
    """Put a fresh adapter on `base`, in place: A from the public seed, B zero, both float32."""
    conv = any(isinstance(module, Conv1D) for module in base.modules())
    lora: Any = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # pyright: ignore[reportArgumentType]  peft takes floats, its annotation does not
        target_modules="all-linear",
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        fan_in_fan_out=conv,
        init_lora_weights=False,
    )
    with warnings.catch_warnings():
        # A model of both kinds of layer (GPT-2's head is linear) has fan_in_fan_out corrected layer by layer.
        warnings.filterwarnings("ignore", message=".*fan_in_fan_out.*")
        warnings.filterwarnings("ignore", category=FutureWarning)
        model = cast("Any", get_peft_model)(base, lora)
    parameters: dict[str, torch.nn.Parameter] = {}
    for name, layer in sorted(_lora_layers(base).items()):
        parameters[name + A] = layer.lora_A["default"].weight
        parameters[name + B] = layer.lora_B["default"].weight
    if not parameters:
        raise UserMistake("model.name: this model has no linear layers to adapt")
    specs = tuple(TensorSpec(name, tuple(value.shape)) for name, value in parameters.items())
    adapter = Adapter(model.eval(), parameters, Layout(specs), config, conv)
    adapter.set_state(initial_state(adapter.layout, config.seed))
    return adapter


def _lora_layers(base: PreTrainedModel) -> dict[str, Any]:
    modules: Iterable[tuple[str, Any]] = cast("Any", base).named_modules()
    return {name: module for name, module in modules if isinstance(module, LoraLayer)}
