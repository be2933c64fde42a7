"""Two adapters beside each other as one of twice the rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossipllm.learning.composition.parts import (
    first_gates,
    holds_rest,
    joined,
    own_mask,
    own_part,
    regated,
    rest_part,
)
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
GATES = (1.0, 0.25, 2.0)
"""Outside all blocks, and of the two blocks."""


def test_the_whole_adds_the_own_part_and_the_gated_rest(shape: Shape, draw: Draw, effect: Any) -> None:
    form = shape()
    own, rest = draw(form, 0), draw(form, 1)
    whole = joined(form, own, rest, GATES)

    for unit in form.own:
        gate = GATES[form.schema.units[unit].layer + 1]
        want = effect(form, own, unit) + gate * effect(form, rest, unit)
        np.testing.assert_allclose(effect(form.doubled(), whole, unit), want, atol=1e-6)


def test_the_parts_come_out_as_they_went_in(shape: Shape, draw: Draw) -> None:
    form = shape()
    own, rest = draw(form, 0), draw(form, 1)

    whole = joined(form, own, rest, GATES)

    assert all(np.array_equal(value, own[name]) for name, value in own_part(form, whole).items())
    for name, value in rest_part(form, whole, GATES).items():
        np.testing.assert_allclose(value, rest[name], rtol=1e-6)
    assert {name: value.shape for name, value in whole.items()} == {
        spec.name: spec.shape for spec in form.doubled().layout.tensors
    }


def test_a_changed_gate_changes_the_rest_alone(shape: Shape, draw: Draw) -> None:
    form = shape()
    own, rest = draw(form, 0), draw(form, 1)

    changed = regated(form, joined(form, own, rest, GATES), (1.0, 2.0, 0.5))

    want = joined(form, own, rest, (1.0, 0.5, 1.0))
    for name, value in changed.items():
        np.testing.assert_allclose(value, want[name], rtol=1e-6)


def test_local_steps_may_change_half_of_each_tensor(shape: Shape, draw: Draw) -> None:
    form = shape()
    whole = joined(form, draw(form, 0), draw(form, 1), GATES)

    masks = own_mask(form, whole)

    assert sum(mask.sum() for mask in masks.values()) == form.layout.count
    assert all(own_part(form, masks)[name].all() for name in masks)


def test_a_fresh_rest_holds_nothing(shape: Shape, draw: Draw) -> None:
    form = shape()
    own, gates = draw(form, 0), first_gates(form)

    assert not holds_rest(form, joined(form, own, form.start(0), gates))
    assert holds_rest(form, joined(form, own, draw(form, 1), gates))
