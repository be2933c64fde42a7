"""The rows and columns of an attention's linear layers that belong to each group of heads.

A group is a key/value head with its query heads; without grouped queries a group is a single head. The groups follow
each other in the layers' rows. Query, key and value are three layers (Llama) or one fused layer with query, key and
value below each other (GPT-2, Phi-3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from transformers import PreTrainedModel

from gossipllm.model.blocks import stated, stated_width
from trust.errors import UserMistake

_APART: Final = ("q_proj", "k_proj", "v_proj")
_FUSED: Final = ("c_attn", "qkv_proj")
_OUT: Final = ("o_proj", "out_proj", "c_proj")
_UNKNOWN: Final = (
    'adapter.train = "heads": the attention of this model is not of a known form; use "both", which adapts '
    "all linear layers"
)


@dataclass(frozen=True, slots=True)
class HeadRows:
    """Rows of a module's outputs: `count` for each group, from row `first` on. `mark` is "q", "k" or "v" where the
    three are fused in one module, and empty otherwise."""

    module: str
    mark: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Attention:
    """The linear layers of one attention. The output projection `out` has `width` columns for each of the `groups`."""

    name: str
    rows: tuple[HeadRows, ...]
    out: str
    width: int
    groups: int


@dataclass(frozen=True, slots=True)
class HeadSizes:
    """The rows of one group in query and in key or value, and the number of groups."""

    query: int
    key: int
    groups: int


def head_sizes(model: PreTrainedModel) -> HeadSizes:
    """Raises `UserMistake` where the configuration states no number of heads for all layers."""
    heads: object = stated(model, "num_attention_heads")
    if not isinstance(heads, int):
        raise UserMistake(_UNKNOWN)
    groups = int(stated(model, "num_key_value_heads") or heads)
    width = int(stated(model, "head_dim") or stated_width(model) // heads)
    return HeadSizes(width * heads // groups, width, groups)


def attentions_of(linears: Mapping[str, tuple[int, int]], sizes: HeadSizes) -> tuple[Attention, ...]:
    """The attentions among linear layers, which are given by name with their numbers of inputs and outputs.

    Raises `UserMistake` where there is none, or where a layer's size does not fit its heads.
    """
    parents: dict[str, dict[str, str]] = {}
    for module in linears:
        parent, _, child = module.rpartition(".")
        parents.setdefault(parent, {})[child] = module
    found = [
        attention
        for parent, children in parents.items()
        if (attention := _attention(parent, children, linears, sizes)) is not None
    ]
    if not found:
        raise UserMistake(_UNKNOWN)
    return tuple(found)


def _attention(
    parent: str, children: Mapping[str, str], linears: Mapping[str, tuple[int, int]], sizes: HeadSizes
) -> Attention | None:
    outs = [children[name] for name in _OUT if name in children]
    if not outs:
        return None
    counts = (sizes.query, sizes.key, sizes.key)
    if all(name in children for name in _APART):
        rows = tuple(
            HeadRows(children[name], "", 0, count) for name, count in zip(_APART, counts, strict=True)
        )
    elif fused := [children[name] for name in _FUSED if name in children]:
        firsts = (0, counts[0] * sizes.groups, (counts[0] + counts[1]) * sizes.groups)
        rows = tuple(
            HeadRows(fused[0], mark, first, count)
            for mark, first, count in zip("qkv", firsts, counts, strict=True)
        )
    else:
        return None
    for module in dict.fromkeys(one.module for one in rows):
        outputs = sum(one.count for one in rows if one.module == module) * sizes.groups
        if linears[module][1] != outputs:
            raise UserMistake(
                f'adapter.train = "heads": {module} has {linears[module][1]} outputs, its heads would have {outputs}'
            )
    if linears[outs[0]][0] != sizes.query * sizes.groups:
        raise UserMistake(
            f'adapter.train = "heads": {outs[0]} has {linears[outs[0]][0]} inputs, its heads would have '
            f"{sizes.query * sizes.groups}"
        )
    return Attention(parent, rows, outs[0], sizes.query, sizes.groups)
