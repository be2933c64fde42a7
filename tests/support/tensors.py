"""Members of torch that its types know in part, with the types that they have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch


def listed(tensor: torch.Tensor) -> list[Any]:
    return cast("Any", tensor).tolist()


def named_modules(model: torch.nn.Module) -> Iterable[tuple[str, torch.nn.Module]]:
    return cast("Iterable[tuple[str, torch.nn.Module]]", cast("Any", model).named_modules())


def norm(tensor: torch.Tensor, dim: int | None = None) -> torch.Tensor:
    return cast("Any", tensor).norm(dim=dim)


def seed_torch(seed: int) -> None:
    """Seed whatever is drawn without a generator of its own."""
    cast("Any", torch).manual_seed(seed)
