"""Names of an adapter's tensors. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from wire.floats import F32
from wire.updates.tensors import Layout

A: Final = ".lora_A"
B: Final = ".lora_B"
WEIGHT: Final = ".weight"
BIAS: Final = ".bias"
"""Ends of the names of differences, which are added to the base's tensor of that name."""

State: TypeAlias = Mapping[str, F32]
"""An adapter's tensors by name, float32, all of one layout and in its order."""


def modules_of(layout: Layout) -> tuple[str, ...]:
    """The names of the adapted modules, in the layout's order."""
    modules = (spec.name.rpartition(".")[0] for spec in layout.tensors)
    return tuple(dict.fromkeys(modules))
