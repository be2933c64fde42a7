"""Selecting the modules of a base that get adapters, by what is trained (`AdapterConfig.train`).

    both, b, share-a, alternate   all linear layers except the head
    heads   the linear layers of attention
    full    modules of the blocks that hold weights, the final norm, and a head that is not tied to the embeddings
    bias    modules of the blocks, and the final norm, that have a bias
    all     those of full, and the token embeddings

Of these, the modules that a text passes through (`reach.py`). What is left out is said (`coverage.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from gossipllm.config.choices import TRAINS, Train
from gossipllm.model.adapter.names import BIAS
from gossipllm.model.adapter.selection.coverage import Coverage, coverage_of, is_stack
from gossipllm.model.adapter.selection.head_proof import check_heads
from gossipllm.model.adapter.selection.reach import NO_GRADIENT, NOT_PLAIN, reach_of
from gossipllm.model.blocks import Linear, blocks_name, final_norm_of, own_head_of
from gossipllm.model.heads import Attention, attentions_of, head_sizes
from trust.errors import UserMistake

OUTSIDE: Final = "neither in the blocks nor of tokens"
TAKEN_FOR_EXPERTS: Final = "PEFT would take them for the experts"
_OF_EXPERTS: Final = ("gate", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3")
"""Names of layers that were an expert's before transformers 5 stacked all experts in one tensor. Wherever they stand in
such a model, PEFT (0.21) reads them as the stack's, and an exported adapter would be another one there."""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The modules that get sites, sorted by name; `alone` names those that map one tensor to one, `still` their tensors
    that cannot be trained. `embeddings` is the name of the token embeddings where they are among the modules, `tied`
    that of a head with the same weights."""

    modules: Mapping[str, torch.nn.Module]
    alone: frozenset[str]
    still: frozenset[str]
    coverage: Coverage
    embeddings: str = ""
    tied: str = ""


def selected(model: PreTrainedModel, train: Train) -> Selection:
    """Raises `UserMistake` where the model has no modules to adapt like this, or is no causal language model."""
    low_rank = TRAINS[train].low_rank
    try:
        wanted = _linears(model) if low_rank else _trainable(model, train)
    except UserMistake:
        reach_of(model, ())  # that it cannot be trained at all comes first
        raise
    reach = reach_of(model, wanted)
    left = dict(reach.left)
    if low_rank:
        left |= {name: NOT_PLAIN for name in wanted if name not in reach.alone and name not in left}
        left |= {name: TAKEN_FOR_EXPERTS for name in _taken_for_experts(model, wanted) if name not in left}
    found = {name: module for name, module in wanted.items() if name not in left}
    if train == "heads":
        attentions = attentions_in(model, found)
        check_heads(model, attentions)
        names = {rows.module for one in attentions for rows in one.rows} | {one.out for one in attentions}
        found = {name: module for name, module in found.items() if name in names}
    if not found:
        kind = "linear layers" if low_rank else "biases" if train == "bias" else "weights in its blocks"
        raise UserMistake(f"model.name: this model has no {kind} to adapt")
    embeddings = tied = ""
    if train == "all":
        embeddings, tied = _embeddings(model)
        found = dict(sorted((found | {embeddings: model.get_submodule(embeddings)}).items()))
        left |= dict.fromkeys(_outside(model, found.keys() | {tied}), OUTSIDE)
    still = frozenset(name for name in reach.still if name.rpartition(".")[0] in found)
    coverage = coverage_of(
        model,
        found,
        left,
        still=dict.fromkeys(still, NO_GRADIENT),
        below=_all_below(model, train),
        tried=reach.tried,
    )
    return Selection(found, reach.alone, still, coverage, embeddings, tied)


def attentions_in(model: PreTrainedModel, linears: Mapping[str, torch.nn.Module]) -> Sequence[Attention]:
    return attentions_of({name: sizes_of(module) for name, module in linears.items()}, head_sizes(model))


def sizes_of(module: torch.nn.Module) -> tuple[int, int]:
    """Numbers of inputs and outputs. `Conv1D` stores its weight as (inputs, outputs), a linear layer the other way."""
    if isinstance(module, torch.nn.Linear):
        # Not of its weight, which has another shape where a library has quantised it.
        return module.in_features, module.out_features
    rows, columns = cast("torch.Tensor", module.weight).shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)


def is_norm(module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim == 1 and "norm" in type(module).__name__.lower()


def differences_of(module: torch.nn.Module, train: Train) -> dict[str, tuple[int, ...]]:
    """The shapes of a module's tensors that are trained as differences, by the ends of their names."""
    held = {"." + name: tuple(value.shape) for name, value in module.named_parameters(recurse=False)}
    return {end: shape for end, shape in held.items() if train != "bias" or end == BIAS}


def _linears(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    head = cast("Any", model).get_output_embeddings()
    return {
        name: module for name, module in _modules(model) if isinstance(module, Linear) and module is not head
    }


def _taken_for_experts(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    every: Iterable[tuple[str, torch.Tensor]] = cast("Any", model).named_parameters()
    if not any(is_stack(name, value) and name.endswith("_proj") for name, value in every):
        return []
    return [name for name in names if name.rpartition(".")[2] in _OF_EXPERTS]


def _trainable(model: PreTrainedModel, train: Train) -> dict[str, torch.nn.Module]:
    """Modules whose weights are all their own, none a module's within them: those of the blocks, the final norm and,
    with "full" and "all", an untied head."""
    head = own_head_of(model) if train != "bias" else None
    try:
        outside = [final_norm_of(model), *([head] if head is not None else [])]
        prefix = blocks_name(model) + "."
    except ValueError as error:
        raise UserMistake(f'adapter.train = "{train}" is not for this model: {error}; take "both"') from None
    return {
        name: module
        for name, module in _modules(model)
        if (module in outside or name.startswith(prefix))
        and differences_of(module, train)
        and all("." not in inner for inner, _ in module.named_parameters())
    }


def _embeddings(model: PreTrainedModel) -> tuple[str, str]:
    """The names of the token embeddings, and of a head that is tied to them, empty for none. Raises `UserMistake` where
    they are more than a table of rows."""
    table, head = cast("Any", model).get_input_embeddings(), cast("Any", model).get_output_embeddings()
    names = {id(module): name for name, module in _modules(model)}
    if not isinstance(table, torch.nn.Embedding) or table.max_norm is not None:
        raise UserMistake(
            f'adapter.train = "all" is not for this model: its token embeddings are a {type(table).__name__}; '
            'take "full"'
        )
    tied = head is not None and head.weight is table.weight
    if tied and not isinstance(head, Linear):
        raise UserMistake(
            f'adapter.train = "all" is not for this model: its head is a {type(head).__name__}; take "full"'
        )
    return names[id(table)], names[id(head)] if tied else ""


def _outside(model: PreTrainedModel, known: Collection[str]) -> list[str]:
    """Modules with weights of their own beside the blocks, as embeddings of positions, other than those known."""
    prefix = f"{blocks_name(model)}."
    return [
        name
        for name, module in _modules(model)
        if name not in known
        and not name.startswith(prefix)
        and next(module.parameters(recurse=False), None) is not None
    ]


def _all_below(model: PreTrainedModel, train: Train) -> str:
    """The prefix of names below which all weights were asked for; empty where only some kinds of modules were."""
    return "" if TRAINS[train].low_rank or train == "bias" else f"{blocks_name(model)}."


def _modules(model: PreTrainedModel) -> list[tuple[str, torch.nn.Module]]:
    return sorted(cast("Any", model).named_modules())
