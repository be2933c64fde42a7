"""Norms over the last axis: whether a module is one, and what it computes without its weight and bias."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.func import functional_call


def is_plain_norm(norm: torch.nn.Module) -> bool:
    """Whether a norm is over the last axis of a tensor of any shape. Those of some families want heads in an axis of
    their own, or divide the last axis into groups that a short probe does not have."""
    try:
        neutral_weight(norm)
    except (ValueError, IndexError, RuntimeError):
        return False
    return True


def neutral_weight(norm: torch.nn.Module) -> float:
    """The weight with which a norm only normalises: 1, or 0 in families that add 1 to the weight."""
    width = cast("torch.Tensor", norm.weight).shape[-1]
    probe = torch.linspace(1, 2, width)[None]  # not constant, or a norm that subtracts the mean would give 0
    with torch.no_grad():
        zeroed: Any = functional_call(norm, constant(norm, 0.0, probe.device), (probe,))
    return 0.0 if zeroed.any() else 1.0


def constant(norm: torch.nn.Module, weight: float, device: torch.device) -> dict[str, torch.Tensor]:
    """All parameters of a norm in float32: the weight filled with this value, the bias 0."""
    return {
        name: torch.full(value.shape, weight if name == "weight" else 0.0, device=device)
        for name, value in norm.named_parameters()
    }
