"""Which layers of a large model stand for which of a small one: by depth, and within a block by name.

A block of the large model at the relative depth d takes the place of the small model's block at that depth, so a block
of a shallow model stands for several of a deep one. Within a block, a linear layer's counterpart has the same name, or
another family's name for the same part (`_PARTS`). Layers whose counterpart is made of several, as one that computes
query, key and value at once, have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from trust.errors import UserMistake

_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "query": ("q_proj", "query", "q_lin"),
    "key": ("k_proj", "key", "k_lin"),
    "value": ("v_proj", "value", "v_lin"),
    "attention output": ("o_proj", "out_proj", "attention.dense", "self_attention.dense", "attn.c_proj"),
    "gate": ("gate_proj",),
    "up": ("up_proj", "fc1", "fc_in", "mlp.c_fc", "dense_h_to_4h"),
    "down": ("down_proj", "fc2", "fc_out", "mlp.c_proj", "dense_4h_to_h"),
}
"""Part of a block -> the ends of the names that families give it."""


@dataclass(frozen=True, slots=True)
class Model:
    """What matching needs of a model: the name of its list of blocks, their number, the names of its linear layers."""

    name: str
    blocks: str
    depth: int
    linears: frozenset[str]


@dataclass(frozen=True, slots=True)
class Matching:
    """`pairs`: layer of the large model -> layer of the small one. `left` are those of the small model's adapted layers
    that no layer of the large one stands for."""

    pairs: Mapping[str, str]
    left: tuple[str, ...]


def matched(small: Model, adapted: Iterable[str], large: Model) -> Matching:
    """Match the small model's adapted layers with layers of the large one.

    Raises `UserMistake` where the small model is the deeper one, or no adapted layer has a counterpart.
    """
    if small.depth > large.depth:
        raise UserMistake(
            f"{small.name} has {small.depth} blocks and {large.name} {large.depth}: a projection goes from a shallow "
            "model to one that is as deep or deeper"
        )
    wanted = sorted(adapted)
    parts = {_place(one, small): one for one in wanted}
    pairs: dict[str, str] = {}
    for name in sorted(large.linears):
        block, within = _place(name, large)
        if block < 0:
            continue
        at = block * small.depth // large.depth
        found = parts.get((at, within)) or parts.get((at, _part(within)))
        if found is None and (part := _part(within)):
            found = next((one for (b, w), one in parts.items() if b == at and _part(w) == part), None)
        if found is not None:
            pairs[name] = found
    if not pairs:
        raise UserMistake(
            f"{large.name} has no layer that stands for one of those adapted in {small.name}, as {wanted[0]}"
        )
    taken = set(pairs.values())
    return Matching(pairs, tuple(one for one in wanted if one not in taken))


def kind_of(module: str) -> str:
    """The part of a block that a layer is, in words; where it is none that is known, the last part of its name."""
    return _part(module) or module.rpartition(".")[2]


def _place(name: str, model: Model) -> tuple[int, str]:
    """The block of a layer, -1 outside the blocks, and its name there."""
    head, _, rest = name.removeprefix(f"{model.blocks}.").partition(".")
    if not name.startswith(f"{model.blocks}.") or not head.isdecimal():
        return -1, name
    return int(head), rest


def _part(within: str) -> str:
    for part, ends in _PARTS.items():
        if any(within == end or within.endswith(f".{end}") for end in ends):
            return part
    return ""
