"""Running a causal language model of any family on token ids alone."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, cast

import torch


def logits_of(model: torch.nn.Module, tokens_BT: torch.Tensor, *, last: bool = False) -> torch.Tensor:
    """`(B, T, V)`, or `(B, 1, V)` of the last position only.

    A family is given only what its `forward` names: older ones know neither a cache nor `logits_to_keep`.
    """
    takes = _named(type(model))
    options: dict[str, Any] = {}
    if "use_cache" in takes:
        options["use_cache"] = False
    if last and "logits_to_keep" in takes:
        options["logits_to_keep"] = 1
    logits: torch.Tensor = cast("Any", model)(input_ids=tokens_BT, **options).logits
    return logits[:, -1:] if last else logits


@cache
def _named(kind: type[torch.nn.Module]) -> frozenset[str]:
    """The names of the arguments of this class's `forward`."""
    return frozenset(inspect.signature(kind.forward).parameters)
