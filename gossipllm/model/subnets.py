"""Subnets: base models that compute only some of their attention heads, scaled up to stand for all heads.

For training head by head. Of an attention's G groups of heads, g are computed: their rows of query, key and value, and
their columns of the output projection. The input of that projection is multiplied by G / g, as dropout scales the
entries that it keeps, so that over random choices of groups the attention's output has the same expectation as with
all groups. The bias of the projection belongs to no head and is added once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from copy import copy
from typing import Any, ClassVar, cast

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B
from gossipllm.model.adapter.sites import LoraSite
from gossipllm.model.blocks import blocks_name, replace, shadow
from gossipllm.model.heads import Attention, attentions_of, head_sizes
from trust.errors import UserMistake


def subnet(model: PreTrainedModel, groups: Mapping[int, Collection[int]]) -> PreTrainedModel:
    """`model` with only these groups of heads by block. It must have sites around its attentions' linear layers.

    A block without named groups keeps all its heads, because no scaling makes up for an attention without heads.
    Measured on the embedded model and technical notes, four peers with a quarter of the heads each, six rounds of eight
    steps, two seeds: from 6.07 nats to 5.91, and to 6.09 where such blocks had no attention; 5.82 with masks. So a peer
    with few heads, and none in many blocks, saves little computation. Where every block has all or none of its groups,
    `model` itself is returned.

    The subnet shares everything with `model` except the slices of weights that it computes with, and mounts the same
    tensors by the same names: an adapter's other rows and columns are not used and get a gradient of zero. Raises
    `ValueError` for blocks or groups that the model does not have, and `UserMistake` where its heads share parameters.
    """
    attentions = _attentions(model)
    for block, some in groups.items():
        if block not in attentions or not set(some) <= set(range(attentions[block].groups)):
            raise ValueError(f"groups must be some that the model has, got {sorted(some)} in block {block}")
    chosen = {block: tuple(sorted(set(some))) for block, some in groups.items()}
    cut = [block for block, some in chosen.items() if 0 < len(some) < attentions[block].groups]
    changed = [f"{attentions[block].name}." for block in cut]
    kept = [
        module
        for name, module in _modules(model).items()
        if not any(name == "" or attention.startswith(f"{name}.") for attention in changed)
    ]
    part = shadow(model, kept=(model.config, *kept))
    for block in cut:
        _cut(part, attentions[block], chosen[block], head_width=head_sizes(model).key)
    return part


def owned(blueprint: Blueprint, units: Iterable[int]) -> dict[int, frozenset[int]]:
    """The groups of heads, by block, of these units of an adapter with `train = "heads"`."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    for unit in units:
        # A group's number is its place among the columns of A of the output projection.
        (columns,) = (cut for cut in blueprint.anatomy.cuts[unit] if cut.tensor.endswith(A))
        found[blueprint.schema.units[unit].layer].add(columns.start // (columns.stop - columns.start))
    return {block: frozenset(some) for block, some in found.items()}


class _PartSite(LoraSite):
    """A LoRA site on some rows or columns of a frozen layer: those of the heads that a subnet computes.

    Adapters are mounted with all heads, so that their tensors keep names and shapes. Each pass selects its slices from
    them again, because an optimiser changes the tensors in place between passes.
    """

    cut: ClassVar[str]
    """The factor, A or B, whose rows or columns belong to heads. The other factor is shared by all heads."""
    axis: ClassVar[int]
    """The axis of the heads in that factor, whose axis 0 is the adapters that are mounted."""

    own: torch.Tensor
    """Indices of the computed rows or columns."""

    def __init__(self, whole: LoraSite, own: torch.Tensor) -> None:
        super().__init__(whole.name, _sliced(whole.frozen, own, outputs=self.cut == B))
        self.register_buffer("own", own.to(whole.weight.device), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mounted = self.mounted
        if self.cut in mounted:
            self.mounted = {**mounted, self.cut: mounted[self.cut].index_select(self.axis, self.own)}
        # `LoraSite.forward` reads `mounted`; afterwards the whole tensors stand there again.
        try:
            return super().forward(x)
        finally:
            self.mounted = mounted


class _Rows(_PartSite):
    """A site on the rows of some heads in query, key or value, or in a layer that fuses all three."""

    cut, axis = B, 1


class _Columns(_PartSite):
    """A site on the columns of some heads in the output projection; these heads stand for `gain` times as many."""

    cut, axis = A, 2

    def __init__(self, whole: LoraSite, own: torch.Tensor, gain: float) -> None:
        super().__init__(whole, own)
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The input rather than the output: the bias of the projection must not be multiplied.
        return super().forward(self.gain * x)


def _attentions(model: PreTrainedModel) -> dict[int, Attention]:
    """The attentions of the model by the index of their block."""
    sites = {name: module for name, module in _modules(model).items() if isinstance(module, LoraSite)}
    found = attentions_of({name: _sizes(site) for name, site in sites.items()}, head_sizes(model))
    prefix = blocks_name(model) + "."
    return {int(attention.name.removeprefix(prefix).partition(".")[0]): attention for attention in found}


def _modules(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    return dict(cast("Any", model).named_modules())


def _sizes(site: LoraSite) -> tuple[int, int]:
    """The numbers of inputs and outputs of a site's layer."""
    rows, columns = site.weight.shape
    return (rows, columns) if isinstance(site.frozen, Conv1D) else (columns, rows)


def _cut(part: PreTrainedModel, attention: Attention, chosen: tuple[int, ...], *, head_width: int) -> None:
    """Restrict an attention of `part` to the chosen groups, in place."""
    _check(part, attention, head_width)
    for name in dict.fromkeys(rows.module for rows in attention.rows):
        spans = [(rows.first, rows.count) for rows in attention.rows if rows.module == name]
        replace(part, name, _Rows(_site(part, name), _places(spans, chosen)))
    columns = _places([(0, attention.width)], chosen)
    gain = attention.groups / len(chosen)
    replace(part, attention.out, _Columns(_site(part, attention.out), columns, gain))
    _set_counts(part.get_submodule(attention.name), attention, len(chosen), head_width)


def _check(part: PreTrainedModel, attention: Attention, head_width: int) -> None:
    """Raises `UserMistake` where an attention has a parameter that spans several heads.

    A parameter as wide as a single head, such as the norms of query and key in Qwen3, is used by every head alike and
    is allowed.
    """
    linears = (*(rows.module for rows in attention.rows), attention.out)
    for name, value in part.get_submodule(attention.name).named_parameters(prefix=attention.name):
        apart = any(name.startswith(f"{linear}.") for linear in linears)
        if not apart and value.shape != (head_width,):
            raise UserMistake(f'heads.mode = "subnet": {name} belongs to all heads at once; use "mask"')


def _site(part: PreTrainedModel, name: str) -> LoraSite:
    return cast("LoraSite", part.get_submodule(name))


def _places(spans: Iterable[tuple[int, int]], chosen: tuple[int, ...]) -> torch.Tensor:
    """The indices of the rows or columns of the chosen groups. In the span `(first, count)`, each group has `count`
    consecutive indices, beginning with those of group 0 at `first`."""
    return torch.cat(
        [torch.arange(count) + first + group * count for first, count in spans for group in chosen]
    )


def _sliced(frozen: torch.nn.Module, own: torch.Tensor, *, outputs: bool) -> torch.nn.Module:
    """A copy of a linear layer that has only the outputs, or the inputs, at the indices `own`."""
    weight, bias = cast("torch.Tensor", frozen.weight), cast("torch.Tensor | None", frozen.bias)
    # `Linear` stores (outputs, inputs), `Conv1D` of GPT-2 (inputs, outputs).
    swapped = [(weight, _constant(weight, own, axis=int(outputs == isinstance(frozen, Conv1D))))]
    if outputs and bias is not None:
        swapped.append((bias, _constant(bias, own, axis=0)))
    part: Any = shadow(frozen, swapped=swapped)
    if isinstance(frozen, Conv1D):
        part.nx, part.nf = part.weight.shape
    else:
        part.out_features, part.in_features = part.weight.shape
    return part


def _constant(whole: torch.Tensor, own: torch.Tensor, *, axis: int) -> torch.nn.Parameter:
    some = whole.detach().index_select(axis, own.to(whole.device))
    return torch.nn.Parameter(some, requires_grad=False)


def _set_counts(module: Any, attention: Attention, chosen: int, head_width: int) -> None:
    """Set an attention's numbers of heads and its widths to those of the chosen groups.

    Families keep these numbers at the attention module or read them from its configuration, under several names. Only a
    number that equals that of all heads is changed: in other families the same name may mean something else.
    """
    queries = attention.width // head_width
    config = module.config = copy(module.config)
    counts = {"num_heads": queries, "num_attention_heads": queries, "num_key_value_heads": 1}
    widths = dict.fromkeys(("split_size", "embed_dim", "hidden_size"), attention.width)
    for owner, sizes in ((config, counts), (module, counts | widths)):
        for name, size in sizes.items():
            if getattr(owner, name, None) == size * attention.groups:
                setattr(owner, name, size * chosen)
