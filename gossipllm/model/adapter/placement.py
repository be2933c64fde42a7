"""Placing adapters: sites around the modules of a base that `selection` chose, and the tensors that they have.

LoRA computes `x W + alpha/rank * x A' B'` as peft's layers do. peft holds one adapter for all windows, or one for each
window in a Python loop; the results here equal peft's within 1e-5, which a test establishes, and exported adapters load
with peft.

A tensor's name is the name of its module in the base and `.lora_A`, `.lora_B`, `.weight` or `.bias`. Tensors are in the
order of their modules' names, A before B and weight before bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from gossipllm.config import AdapterConfig
from gossipllm.config.choices import TRAINS, Train
from gossipllm.model.adapter.anatomy import AdapterTensor, Anatomy, Cut
from gossipllm.model.adapter.blueprint import Blueprint, named
from gossipllm.model.adapter.names import A, B
from gossipllm.model.adapter.norms import is_plain_norm
from gossipllm.model.adapter.selection.coverage import Coverage
from gossipllm.model.adapter.selection.selection import (
    Selection,
    attentions_in,
    differences_of,
    is_norm,
    selected,
    sizes_of,
)
from gossipllm.model.adapter.sites import (
    EmbeddingSite,
    LinearSite,
    LoraSite,
    NormSite,
    Site,
    WholeSite,
)
from gossipllm.model.blocks import Linear, blocks_name, blocks_of, replace
from gossipllm.model.heads import Attention
from trust.errors import UserMistake
from wire.updates.units import MAX_UNITS, RANK


@dataclass(frozen=True, eq=False)
class Attached:
    """The sites around a base's modules, by module name, for one kind of adapter of any rank and set of modules."""

    sites: Mapping[str, Site]
    anatomy: Anatomy
    train: Train
    coverage: Coverage
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
    chosen = selected(model, config.train)
    anatomy = _anatomy(model, chosen, config.train)
    head = model.get_submodule(chosen.tied) if chosen.tied else None
    sites: dict[str, Site] = {}
    for name, module in chosen.modules.items():
        if name == chosen.embeddings:
            sites[name] = EmbeddingSite(name, module)
        else:
            sites[name] = _site(name, module, config.train, alone=name in chosen.alone)
        replace(model, name, sites[name])
    if head is not None:
        # Of the embeddings' name, whose differences are its own too.
        sites[chosen.tied] = LinearSite(chosen.embeddings, head)
        replace(model, chosen.tied, sites[chosen.tied])
    return Attached(sites, anatomy, config.train, chosen.coverage)


def _site(name: str, module: torch.nn.Module, train: Train, *, alone: bool) -> Site:
    if TRAINS[train].low_rank:
        return LoraSite(name, module)
    if alone and isinstance(module, Linear):
        return LinearSite(name, module)
    if alone and is_norm(module) and is_plain_norm(module):
        return NormSite(name, module)
    return WholeSite(name, module)


def _anatomy(model: PreTrainedModel, chosen: Selection, train: Train) -> Anatomy:
    found = chosen.modules
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
        for end, shape in (
            _factors(module) if TRAINS[train].low_rank else differences_of(module, train)
        ).items()
        if name + end not in chosen.still
    ]
    mirrored, kept = frozenset[str](), frozenset[str]()
    if train == "heads":
        attentions = sorted(attentions_in(model, found), key=lambda one: (layer(one.name), one.name))
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
    inputs, outputs = sizes_of(module)
    return {A: (RANK, inputs), B: (outputs, RANK)}
