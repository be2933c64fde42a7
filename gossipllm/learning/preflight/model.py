"""Examining a model before a run: from its configuration alone, or from the model that a run has loaded.

`examined` makes the model without numbers (torch's meta device), puts the same sites around its layers as a run does,
and packs it as a run would. So what it says of modules and memory is said of the very same structure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, cast

import torch

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import PACKED_BITS
from gossipllm.learning.passes.block_window import block_window_count
from gossipllm.learning.passes.memory.step_memory import StepMemory, step_memory
from gossipllm.learning.preflight.account import ModelAccount, Share
from gossipllm.learning.preflight.peft_fit import fit_with_peft
from gossipllm.learning.training.warm_start import started_warm
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.placement import Attached, attach
from gossipllm.model.blocks import blocks_of, shadow
from gossipllm.model.contexts.held import check_held
from gossipllm.model.contexts.quantised import pack, packed_in
from gossipllm.model.loading.models import Base, hollow_base
from gossipllm.text.windows import check_length

_SNAPSHOTS: Final = 4
"""In a home: two generations, each with the last state and the best one."""
_Named = Iterable[tuple[str, torch.nn.Module]]
_NO_LIMIT: Final = 2**30


def examined(config: LearnerConfig) -> ModelAccount:
    """The account of the model that `config` names.

    Raises `UserMistake` where a run would: the model cannot be read, has no such modules or blocks, or reads fewer
    tokens than `data.window_tokens`.
    """
    check_held(config.model)
    base = hollow_base(config.model)
    check_length(config.data, base.context_length)
    weights = _weights(base.model)
    plain = shadow(base.model)
    attached = attach(base.model, config.adapter)
    peft = fit_with_peft(plain, attached.blueprint(config.adapter))
    bits = PACKED_BITS.get(config.layers.context, 0)
    if config.model.held != "whole":
        # bitsandbytes' 4 bits take as much as ours.
        bits = PACKED_BITS.get(config.model.held, 4)
    if bits:
        for block in blocks_of(base.model):
            pack(block, bits)
    account = account_of(config, base, attached)
    return replace(account, weights=weights, peft=peft)


def account_of(config: LearnerConfig, base: Base, attached: Attached) -> ModelAccount:
    """The account of a model with its sites, without what peft says. Raises `UserMistake` as `examined` does."""
    blueprint = attached.blueprint(config.adapter)
    warm = started_warm(config, blueprint)
    count = block_window_count(config, base, blueprint) or blueprint.layers
    memory = _memory(config, base, blueprint, count)
    own = {spec.name.rpartition(".")[0] for spec in blueprint.layout.tensors}
    inside = {name: _weights(site.frozen) for name, site in attached.sites.items() if name in own}
    whole = _weights(base.model)
    limit = base.context_length
    return ModelAccount(
        family=str(cast("Any", base.model.config).model_type),
        blocks=blueprint.layers,
        weights=whole,
        dtype=str(base.dtype).removeprefix("torch."),
        device=str(base.device),
        held=config.model.held,
        context=limit if limit < _NO_LIMIT else 0,
        window_tokens=config.data.window_tokens,
        adapted=_by_kind(inside.items()),
        left=_by_kind(_others(base.model, {f"{name}.frozen" for name in inside})),
        reasons=tuple(attached.coverage.lines()),
        trained=sum(spec.count for spec in blueprint.trained.tensors),
        rank=blueprint.rank,
        memory_bytes=memory.total if memory else 0,
        base_bytes=memory.base if memory else 0,
        warm="" if warm is None else warm.line(blueprint.rank),
        disk_bytes=home_bytes(blueprint),
        update_bytes=update_bytes(blueprint),
    )


def home_bytes(blueprint: Blueprint) -> int:
    """Estimate of the most bytes of a home's state: snapshots in float32 of the adapter, of what local steps began from
    and of both moments, and this peer's own update in each generation."""
    whole = sum(spec.count for spec in blueprint.layout.tensors)
    trained = sum(spec.count for spec in blueprint.trained.tensors)
    return _SNAPSHOTS * 4 * (whole + 3 * trained) + 2 * update_bytes(blueprint)


def update_bytes(blueprint: Blueprint) -> int:
    """Estimate of the most bytes of an update: two for each number that is trained."""
    return 2 * sum(spec.count for spec in blueprint.trained.tensors)


def _memory(config: LearnerConfig, base: Base, blueprint: Blueprint, count: int) -> StepMemory | None:
    """None for a model whose configuration does not say its widths: an estimate never ends a run."""
    try:
        return step_memory(config, base, blueprint, count)
    except (AttributeError, TypeError, ValueError):
        return None


def _weights(module: torch.nn.Module) -> int:
    """Weights of a module, tied ones once. Packed ones are counted as if they were whole."""
    packed = sum(layer.inputs * layer.outputs for layer in packed_in(module))
    return packed + sum(value.numel() for value in module.parameters())


def _others(model: torch.nn.Module, adapted: set[str]) -> Iterable[tuple[str, int]]:
    """The modules that hold weights and are not adapted, with how many."""
    every = dict(cast("_Named", model.named_modules()))
    # Weights that are tied to an adapted module's, as a head's to the embeddings.
    seen = {id(one) for name in adapted for one in every[name].parameters()}
    for name, module in every.items():
        if name in adapted:
            continue
        own = [one for one in module.parameters(recurse=False) if id(one) not in seen]
        seen |= {id(one) for one in own}
        if own:
            yield name.removesuffix(".frozen"), sum(one.numel() for one in own)


def _by_kind(modules: Iterable[tuple[str, int]]) -> tuple[Share, ...]:
    """The kinds of these modules, by the last parts of their names, those with most weights first."""
    counts, weights = Counter[str](), Counter[str]()
    for name, size in modules:
        kind = name.rpartition(".")[2]
        counts[kind] += 1
        weights[kind] += size
    ordered = sorted(counts, key=lambda kind: (-weights[kind], kind))
    return tuple(Share(kind=kind, modules=counts[kind], weights=weights[kind]) for kind in ordered)
