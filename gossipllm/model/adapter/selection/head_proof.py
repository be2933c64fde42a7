"""Proof that rows of query, key and value belong to the heads that they are taken for.

Names and sizes do not tell how a fused layer orders its rows: GPT-2 has all queries, all keys, all values below each
other, others (CodeGen) have them head by head. So some groups of heads are tried: their rows of the value are changed,
and in the input of the output projection exactly their columns must follow.

Axes: B windows, T positions, I inputs of the output projection.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from gossipllm.exhaustion import is_exhaustion
from gossipllm.model.adapter.selection.trial import copy_of, kinds_of, made_up_tokens, representative
from gossipllm.model.blocks import replace
from gossipllm.model.heads import Attention
from gossipllm.model.running import logits_of
from trust.errors import UserMistake


def check_heads(model: PreTrainedModel, attentions: Sequence[Attention]) -> None:
    """Raises `UserMistake` where rows of some attention do not belong to the heads that they are taken for, or it
    cannot be tried. There must be no adapters around the model's modules yet."""
    kinds = kinds_of(model)
    for attention in attentions:
        if representative(attention.name, kinds) != attention.name:
            continue
        try:
            fitting = all(_fits(model, attention, group) for group in {0, attention.groups - 1})
        except Exception as error:
            if is_exhaustion(error):
                raise
            fitting = False
        if not fitting:
            raise UserMistake(
                f'adapter.train = "heads": the rows of {attention.rows[-1].module} are not in the order of the heads; '
                'use "both", which adapts all linear layers'
            )


def _fits(model: PreTrainedModel, attention: Attention, group: int) -> bool:
    """Whether the values of this group of heads reach its columns of the output projection, and no others."""
    copy = copy_of(model, kinds_of(model))
    value = attention.rows[-1]
    first = value.first + group * value.count
    changed = _Changed(copy.get_submodule(value.module), slice(first, first + value.count))
    caught = _Caught(copy.get_submodule(attention.out))
    replace(copy, value.module, changed)
    replace(copy, attention.out, caught)
    tokens_BT = made_up_tokens(copy)
    with torch.no_grad():
        logits_of(copy, tokens_BT)
        changed.by = 1.0
        logits_of(copy, tokens_BT)
    before_BTI, after_BTI = caught.inputs
    moved_I = (after_BTI != before_BTI).flatten(0, -2).any(dim=0)
    own = slice(group * attention.width, (group + 1) * attention.width)
    return bool(moved_I[own].all()) and int(moved_I.sum()) == attention.width


class _Around(torch.nn.Module):
    """A module around another one, with its attributes."""

    def __init__(self, frozen: torch.nn.Module) -> None:
        super().__init__()
        self.frozen = frozen

    def __getattr__(self, name: str) -> torch.Tensor | torch.nn.Module:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("frozen"), name)


class _Changed(_Around):
    """Adds a number to some rows of the output."""

    def __init__(self, frozen: torch.nn.Module, rows: slice) -> None:
        super().__init__(frozen)
        self.rows = rows
        self.by = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.frozen(x).clone()
        y[..., self.rows] += self.by
        return y


class _Caught(_Around):
    """Keeps its inputs."""

    def __init__(self, frozen: torch.nn.Module) -> None:
        super().__init__(frozen)
        self.inputs: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inputs.append(x)
        return self.frozen(x)
