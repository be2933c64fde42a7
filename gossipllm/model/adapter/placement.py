"""Placing adapters: the modules of a base that get sites, by what is trained (`AdapterConfig.train`).

    both, b, share-a, alternate   all linear layers except the head
    heads   the linear layers of attention
    full    linear layers and norms of the blocks, the final norm, and a head that is not tied to the embeddings
    bias    modules of the blocks, and the final norm, that have a bias

LoRA computes `x W + alpha/rank * x A' B'` as peft's layers do. peft holds one adapter for all windows, or one for each
window in a Python loop; the results here equal peft's within 1e-5, which a test establishes, and exported adapters load
with peft.

A tensor's name is the name of its module in the base and `.lora_A`, `.lora_B`, `.weight` or `.bias`. Tensors are in the
order of their modules' names, A before B and weight before bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from gossipllm.config import AdapterConfig
from gossipllm.config.choices import TRAINS, Train
from gossipllm.model.adapter.anatomy import AdapterTensor, Anatomy, Cut
from gossipllm.model.adapter.blueprint import Blueprint, named
from gossipllm.model.adapter.names import BIAS, WEIGHT, A, B
from gossipllm.model.adapter.sites import LinearSite, LoraSite, NormSite, Site
from gossipllm.model.blocks import Linear, blocks_name, blocks_of, final_norm_of, own_head_of, replace
from gossipllm.model.heads import Attention, attentions_of, head_sizes
from trust.errors import UserMistake
from wire.units import MAX_UNITS, RANK

_LORA: Final = ("both", "b", "share-a", "alternate", "heads")


@dataclass(frozen=True, eq=False)
class Attached:
    """The sites around a base's modules, by module name, for one kind of adapter of any rank and set of modules."""

    sites: Mapping[str, Site]
    anatomy: Anatomy
    train: Train
    _blueprints: dict[AdapterConfig, Blueprint] = field(default_factory=dict[AdapterConfig, Blueprint])

    def blueprint(self, config: AdapterConfig) -> Blueprint:
        """The blueprint of adapters with this configuration, the same object for equal configurations. Raises
        `UserMistake` where `config.modules` names a module that the base does not have."""
        if config.train != self.train:
            raise ValueError(
                f"train must be {self.train!r}, as the base was prepared for, got {config.train!r}"
            )
        for name in config.named_modules:
            if not any(named(module, name) for module in self.sites):
                known = sorted({module.rpartition(".")[2] for module in self.sites})
                raise UserMistake(
                    f"adapter.modules: this model has no linear layer {name!r}; it has {', '.join(known)}"
                )
        return self._blueprints.setdefault(config, Blueprint(self.anatomy, config))


def attach(model: PreTrainedModel, config: AdapterConfig) -> Attached:
    """Put sites around the modules of `model` that `config.train` selects, in place. Of `config` only `train` counts.

    Raises `UserMistake` where the model has no such modules.
    """
    found = _found(model, config.train)
    anatomy = _anatomy(model, found, config.train)
    sites: dict[str, Site] = {}
    for name, module in found.items():
        sites[name] = _site(name, module, config.train)
        replace(model, name, sites[name])
    return Attached(sites, anatomy, config.train)


def _found(model: PreTrainedModel, train: Train) -> dict[str, torch.nn.Module]:
    """The modules to adapt, sorted by name."""
    if train in _LORA:
        found = _linears(model)
        if train == "heads":
            attentions = _attentions(model, found)
            wanted = {rows.module for one in attentions for rows in one.rows} | {
                one.out for one in attentions
            }
            found = {name: module for name, module in found.items() if name in wanted}
        missing = "linear layers"
    else:
        found = {name: module for name, module in _trainable(model, train).items() if _tensors(module, train)}
        missing = "biases" if train == "bias" else "weights in its blocks"
    if not found:
        raise UserMistake(f"model.name: this model has no {missing} to adapt")
    return found


def _linears(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    head = cast("Any", model).get_output_embeddings()
    return {
        name: module for name, module in _modules(model) if isinstance(module, Linear) and module is not head
    }


def _trainable(model: PreTrainedModel, train: Train) -> dict[str, torch.nn.Module]:
    """Linear layers and norms of the blocks, the final norm and, with "full", an untied head, sorted by name."""
    head = own_head_of(model) if train == "full" else None
    try:
        outside = [final_norm_of(model), *([head] if head is not None else [])]
        prefix = blocks_name(model) + "."
    except ValueError as error:
        raise UserMistake(f'adapter.train = "{train}" is not for this model: {error}; take "both"') from None
    return {
        name: module
        for name, module in _modules(model)
        if module in outside or (name.startswith(prefix) and (isinstance(module, Linear) or _is_norm(module)))
    }


def _modules(model: PreTrainedModel) -> list[tuple[str, torch.nn.Module]]:
    return sorted(cast("Any", model).named_modules())


def _is_norm(module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim == 1 and "norm" in type(module).__name__.lower()


def _tensors(module: torch.nn.Module, train: Train) -> dict[str, tuple[int, ...]]:
    """The shapes of a module's tensors that are trained as differences, by the ends of their names."""
    wanted = (BIAS,) if train == "bias" else (WEIGHT, BIAS)
    held = {"." + name: tuple(value.shape) for name, value in module.named_parameters(recurse=False)}
    return {end: held[end] for end in wanted if end in held}


def _site(name: str, module: torch.nn.Module, train: Train) -> Site:
    if train in _LORA:
        return LoraSite(name, module)
    return LinearSite(name, module) if isinstance(module, Linear) else NormSite(name, module)


def _anatomy(model: PreTrainedModel, found: Mapping[str, torch.nn.Module], train: Train) -> Anatomy:
    try:
        prefix, layers = blocks_name(model), len(blocks_of(model))
    except ValueError:
        # A model without a list of blocks can still be trained as a whole; what needs blocks checks `layers`.
        prefix, layers = "", 0

    def layer(module: str) -> int:
        if not layers or not module.startswith(prefix + "."):
            return -1
        return int(module.removeprefix(prefix + ".").partition(".")[0])

    tensors = [
        AdapterTensor(name + end, name, layer(name), shape)
        for name, module in found.items()
        for end, shape in (_factors(module) if train in _LORA else _tensors(module, train)).items()
    ]
    mirrored, kept = frozenset[str](), frozenset[str]()
    if train == "heads":
        attentions = sorted(_attentions(model, found), key=lambda one: (layer(one.name), one.name))
        mirrored = frozenset(one.out for one in attentions)
        units = {
            f"{one.name}[{group}]": _cuts_of_group(one, group)
            for one in attentions
            for group in range(one.groups)
        }
    elif TRAINS[train].units_by_factor:
        units = {one.name: (_whole(one),) for one in tensors}
    else:
        travel = {"b": B, "share-a": A}.get(train, "")
        sent = [one for one in tensors if one.name.endswith(travel)]
        units = {name: tuple(_whole(one) for one in sent if one.module == name) for name in found}
        if TRAINS[train].keeps_b:
            kept = frozenset(one.name for one in tensors if one.name.endswith(B))
    if len(units) > MAX_UNITS:
        raise UserMistake(
            f"model.name: this model has {len(units)} parts to adapt, at most {MAX_UNITS} can travel"
        )
    return Anatomy(
        tensors=tuple(tensors),
        names=tuple(units),
        cuts=tuple(units.values()),
        layers=layers,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in found.values()),
        mirrored=mirrored,
        kept=kept,
    )


def _attentions(model: PreTrainedModel, linears: Mapping[str, torch.nn.Module]) -> Sequence[Attention]:
    return attentions_of({name: _sizes(module) for name, module in linears.items()}, head_sizes(model))


def _cuts_of_group(attention: Attention, group: int) -> tuple[Cut, ...]:
    """The pieces of a group of heads: rows of B of query, key and value, and columns of A of the output projection."""

    def cut(tensor: str, mark: str, axis: int, first: int, count: int) -> Cut:
        start = first + group * count
        return Cut(f"{tensor}[{mark}{group}]", tensor, axis, start, start + count)

    return (
        *(cut(rows.module + B, rows.mark, 0, rows.first, rows.count) for rows in attention.rows),
        cut(attention.out + A, "", 1, 0, attention.width),
    )


def _whole(tensor: AdapterTensor) -> Cut:
    axis = 1 if tensor.name.endswith(A) else 0  # never the rank's axis, whose length depends on the peer
    return Cut(tensor.name, tensor.name, axis, 0, tensor.shape[axis])


def _factors(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    inputs, outputs = _sizes(module)
    return {A: (RANK, inputs), B: (outputs, RANK)}


def _sizes(module: torch.nn.Module) -> tuple[int, int]:
    """Numbers of inputs and outputs. `Conv1D` stores its weight as (inputs, outputs), a linear layer the other way."""
    if isinstance(module, torch.nn.Linear):
        # Not of its weight, which has another shape where a library has quantised it.
        return module.in_features, module.out_features
    rows, columns = cast("torch.Tensor", module.weight).shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)
