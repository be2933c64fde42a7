"""What an adapter's tensors are called, and their mapping by name. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from wire.floats import F32
from wire.tensors import Layout

A: Final = ".lora_A"
B: Final = ".lora_B"
WEIGHT: Final = ".weight"
BIAS: Final = ".bias"
"""Differences from the base's tensor of that name."""

State: TypeAlias = Mapping[str, F32]
"""An adapter's tensors by name, float32, all of one layout and in its order."""


def modules_of(layout: Layout) -> tuple[str, ...]:
    """Names of the adapted modules, in layout order."""
    modules = (spec.name.rpartition(".")[0] for spec in layout.tensors)
    return tuple(dict.fromkeys(modules))
