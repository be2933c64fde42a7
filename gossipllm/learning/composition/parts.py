"""Two adapters of rank r beside each other, as one adapter of rank 2 r.

    B A = [B1, g B2] [A1; A2] = B1 A1 + g B2 A2

The first is the own one, which local steps train and which is published; the second is mixed from neighbours and is
frozen in local steps; g is a gate for each block of the model. So passes, snapshots and exports need to know only
adapters of twice the rank, and the export is exact.

As in FedALT (Bian et al., arXiv 2503.11880), whose second adapter is the mean of the others' and whose mixer depends
on the input; a gate for each block is what fits into one adapter.

Axes: L blocks of the model and, as entry 0, what lies outside all blocks; R rank, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, State
from wire.floats import F32

Gates: TypeAlias = tuple[float, ...]

LEAST_GATE: Final = 1e-3
"""The gate is part of the second B: above 0, so that it can be taken out again."""
MOST_GATE: Final = 4.0
"""Guess."""
FIRST_GATE: Final = 0.5
"""Before anything is known. Guess: in the first merge both parts have learned the same thing."""


def first_gates(form: Blueprint) -> Gates:
    return (FIRST_GATE,) * (form.layers + 1)


def joined(form: Blueprint, own: State, rest: State, gates: Gates) -> dict[str, F32]:
    """The whole adapter. `form` is of one part."""
    return {
        name: np.concatenate([value, rest[name]])
        if name.endswith(A)
        else np.concatenate([value, _gate(form, name, gates) * rest[name]], axis=1)
        for name, value in own.items()
    }


def own_part(form: Blueprint, whole: State) -> dict[str, F32]:
    """The first adapter of the two."""
    return {
        name: np.ascontiguousarray(value[: form.rank] if name.endswith(A) else value[:, : form.rank])
        for name, value in whole.items()
    }


def rest_part(form: Blueprint, whole: State, gates: Gates) -> dict[str, F32]:
    """The second adapter of the two, without its gates."""
    return {
        name: np.ascontiguousarray(value[form.rank :])
        if name.endswith(A)
        else value[:, form.rank :] / _gate(form, name, gates)
        for name, value in whole.items()
    }


def holds_rest(form: Blueprint, whole: State) -> bool:
    """Whether anything was ever mixed into the second adapter."""
    return any(value[:, form.rank :].any() for name, value in whole.items() if not name.endswith(A))


def regated(form: Blueprint, whole: State, factors: Gates) -> dict[str, F32]:
    """The whole adapter with the gate of each block multiplied by a factor."""
    changed: dict[str, F32] = {}
    for name, value in whole.items():
        changed[name] = value
        factor = _gate(form, name, factors)
        if not name.endswith(A) and factor != 1:
            changed[name] = value.copy()
            changed[name][:, form.rank :] *= factor
    return changed


def own_mask(form: Blueprint, whole: State) -> dict[str, F32]:
    """1 in the first adapter and 0 in the second."""
    masks = {name: np.zeros_like(value) for name, value in whole.items()}
    for name, mask in masks.items():
        (mask[: form.rank] if name.endswith(A) else mask[:, : form.rank])[...] = 1
    return masks


def _gate(form: Blueprint, name: str, gates: Gates) -> np.float32:
    return np.float32(gates[form.layer_of(name) + 1])
