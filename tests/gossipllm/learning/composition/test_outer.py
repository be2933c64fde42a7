"""Closed forms of outer momentum."""

from __future__ import annotations

import numpy as np
import pytest

from gossipllm.config.choices import Outer
from gossipllm.learning.composition.outer import OuterStep
from gossipllm.model.adapter.names import State
from wire.floats import F32

KINDS: tuple[Outer, ...] = ("nesterov", "noloco")


def at(number: float) -> dict[str, F32]:
    return {"x": np.array([number], np.float32)}


def number(state: State) -> float:
    return float(state["x"][0])


@pytest.mark.parametrize("kind", KINDS)
def test_without_momentum_and_at_rate_one_a_merge_is_taken_as_it_is(kind: Outer) -> None:
    after, _ = OuterStep(kind, 0.0, 1.0).taken(at(3.0), at(5.0), {}, rounds=1)

    assert number(after) == 5.0


def test_nesterov_takes_the_move_and_what_is_kept_of_all_moves() -> None:
    step = OuterStep("nesterov", 0.5, 0.8)
    first, memory = step.taken(at(0.0), at(1.0), {}, rounds=1)
    assert (number(first), number(memory)) == pytest.approx((0.8 * (1 + 0.5), 1.0))

    second, memory = step.taken(at(0.0), at(1.0), memory, rounds=1)

    assert (number(second), number(memory)) == pytest.approx((0.8 * (1 + 0.5 * 1.5), 1.5))


def test_noloco_goes_where_its_momentum_goes() -> None:
    step = OuterStep("noloco", 0.5, 0.8)
    _, memory = step.taken(at(0.0), at(1.0), {}, rounds=1)

    after, memory = step.taken(at(10.0), at(11.0), memory, rounds=1)

    assert number(after) == pytest.approx(10 + 0.5 * 0.8 + 0.8)
    assert number(memory) == pytest.approx(1.2)


@pytest.mark.parametrize("kind", KINDS)
def test_momentum_fades_in_rounds_that_merge_nothing(kind: Outer) -> None:
    step = OuterStep(kind, 0.5, 1.0)
    _, before = step.taken(at(0.0), at(8.0), {}, rounds=1)

    _, after = step.taken(at(0.0), at(0.0), before, rounds=3)

    assert number(after) == pytest.approx(1.0)
