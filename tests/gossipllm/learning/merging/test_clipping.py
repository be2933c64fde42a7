"""How far neighbours can move a merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import MERGE_RULES, MergeRule, Missing, Mixing, Train
from gossipllm.learning.merging.clipping import clipped_moves
from gossipllm.learning.merging.neighbours import Neighbours, Target
from gossipllm.learning.merging.stack import MergedState, OwnAdapter, Stack
from gossipllm.learning.merging.updates import Update, UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from wire.digest import Content

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]
Effect = Callable[..., np.ndarray]

KINDS = get_args(Train)
RULES = tuple(MERGE_RULES)
UNSCALED = tuple(rule for rule in RULES if rule != "fltrust")
"""Rules that leave a single adapter as it is: FLTrust brings it to this peer's size."""
CLIP = 4.0


def merged(
    form: Blueprint,
    own: State,
    updates: Sequence[Update],
    row: Sequence[float],
    rule: MergeRule = "svd",
    *,
    clip: float = CLIP,
    mixing: Mixing = "parameters",
    start: State | None = None,
    missing: Missing = "renorm",
) -> MergedState:
    mine = OwnAdapter(own, own if start is None else start, form.own)
    return Stack(form, mine, updates, mixing=mixing, clip=clip).merge(row, rule, missing)


def scaled(state: State, *, a: float = 1.0, b: float = 1.0) -> State:
    factors = {"lora_A": a}
    return {
        name: (value * np.float32(factors.get(name.rpartition(".")[2], b))).astype(np.float32)
        for name, value in state.items()
    }


def further(start: State, by: State, share: float) -> State:
    return {name: (value + share * by[name]).astype(np.float32) for name, value in start.items()}


def moved(form: Blueprint, effect: Effect, own: State, other: State) -> np.ndarray:
    """How far each unit went, in times the larger of its size and the root mean square of all sizes."""
    sizes = np.array([np.linalg.norm(effect(form, own, unit)) for unit in form.own])
    yardstick = np.maximum(sizes, np.sqrt(np.mean(sizes**2)))
    far = [np.linalg.norm(effect(form, other, unit) - effect(form, own, unit)) for unit in form.own]
    return np.array(far) / yardstick


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("train", KINDS)
def test_neighbours_of_ones_own_size_merge_as_without_a_clip(
    shape: Shape, draw: Draw, offered: Offered, train: Train, rule: MergeRule
) -> None:
    form = shape(train=train)
    own, *others = (draw(form, seed) for seed in range(3))
    updates = [offered(form, other) for other in others]

    plain = merged(form, own, updates, [0.2, 0.3, 0.5], rule, clip=0.0)
    clipped = merged(form, own, updates, [0.2, 0.3, 0.5], rule)

    assert plain.discarded == clipped.discarded
    for name, value in plain.state.items():
        np.testing.assert_array_equal(value, clipped.state[name], err_msg=name)


@pytest.mark.parametrize("factor", [1e2, 1e4, 1e18, 1e37, -1e4])
@pytest.mark.parametrize("weight", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("train", KINDS)
def test_no_neighbour_moves_a_unit_further_than_its_weight_of_tau(
    shape: Shape, draw: Draw, offered: Offered, effect: Effect, train: Train, weight: float, factor: float
) -> None:
    form = shape(train=train)
    own, other = draw(form, 0), draw(form, 1)
    loud = scaled(other, a=1.0 if train == "b" else factor, b=1.0 if train == "heads" else factor)
    if train in ("b", "heads"):
        loud = {name: own[name] if name in form.frozen else value for name, value in loud.items()}

    result = merged(form, own, [offered(form, loud)], [1 - weight, weight])

    # The best adapter of the own rank for a mixture is at most as far from it as the own adapter is.
    assert np.all(moved(form, effect, own, result.state) <= 2 * CLIP * weight + 1e-5)


@pytest.mark.parametrize("rule", ["mean", "pad"])
@pytest.mark.parametrize(("a", "b"), [(1e6, 1e-6), (1e-6, 1e6), (1e20, 1e-20), (3e-20, 3e19)])
def test_factors_are_balanced_before_they_are_averaged(
    shape: Shape, draw: Draw, offered: Offered, rule: MergeRule, a: float, b: float
) -> None:
    form = shape()
    own, other = draw(form, 0), draw(form, 1)

    fair = merged(form, own, [offered(form, other)], [0.5, 0.5], rule)
    lopsided = merged(form, own, [offered(form, scaled(other, a=a, b=b))], [0.5, 0.5], rule)

    for name, value in fair.state.items():
        # A power of two comes at most a factor of the square root of two near to this peer's own size.
        np.testing.assert_allclose(lopsided.state[name], value, atol=0.5 * np.abs(value).max())


@pytest.mark.parametrize("rule", UNSCALED)
def test_balancing_keeps_the_product_to_the_bit(
    shape: Shape, draw: Draw, offered: Offered, effect: Effect, rule: MergeRule
) -> None:
    form = shape()
    own, other = draw(form, 0), draw(form, 1)

    taken = merged(form, own, [offered(form, scaled(other, a=2.0**40, b=2.0**-40))], [0.0, 1.0], rule)

    for unit in form.own:
        np.testing.assert_array_equal(effect(form, taken.state, unit), effect(form, other, unit))


@pytest.mark.parametrize("rule", ["mean", "pad"])
def test_large_columns_that_cancel_in_the_product_do_not_spoil_a_mean(
    shape: Shape, draw: Draw, offered: Offered, effect: Effect, rule: MergeRule
) -> None:
    """Two equal rows of A beside opposite columns of B: no product shows them."""
    form = shape()
    own, other = draw(form, 0), dict[str, np.ndarray]()
    for name, drawn in draw(form, 1).items():
        value = drawn.copy()
        if name.endswith("lora_A"):
            value[1] = value[0]
        else:
            value[:, 0] += 1e5
            value[:, 1] -= 1e5
        other[name] = value

    result = merged(form, own, [offered(form, other)], [0.5, 0.5], rule)

    # Each factor moves by half of 4 times its size: the product grows at most to the square of 3.
    assert np.all(moved(form, effect, own, result.state) <= 10)


def test_a_product_without_an_a_brings_no_b(shape: Shape, draw: Draw, offered: Offered) -> None:
    form = shape()
    own = draw(form, 0)
    hollow = scaled(draw(form, 1), a=0.0, b=1e30)

    result = merged(form, own, [offered(form, hollow)], [0.5, 0.5], "mean")

    for name, value in result.state.items():
        np.testing.assert_allclose(value, own[name] / 2, rtol=1e-6)


@pytest.mark.parametrize("rank", [2, 8])
def test_a_loud_neighbour_of_another_rank_is_clipped_too(
    shape: Shape, draw: Draw, offered: Offered, effect: Effect, rank: int
) -> None:
    form, other = shape(), shape(rank=rank)
    own = draw(form, 0)
    loud = offered(other, scaled(draw(other, 1), a=90, b=90))

    result = merged(form, own, [loud], [0.9, 0.1])

    assert np.all(moved(form, effect, own, result.state) <= 2 * CLIP * 0.1 + 1e-5)


def test_one_loud_neighbour_takes_nothing_from_the_others(
    shape: Shape, draw: Draw, offered: Offered, effect: Effect
) -> None:
    form = shape(rank=16)
    own, other, loud = draw(form, 0), draw(form, 1), scaled(draw(form, 2), b=1e30)

    without = merged(form, own, [offered(form, other)], [0.5, 0.5])
    beside = merged(form, own, [offered(form, other), offered(form, loud)], [0.4, 0.5, 0.1])

    for unit in form.own:
        np.testing.assert_allclose(
            effect(form, beside.state, unit), effect(form, without.state, unit), atol=1e-5
        )


@pytest.mark.parametrize("missing", ["renorm", "kept", "self"])
def test_units_that_a_loud_neighbour_does_not_offer_stay_as_the_missing_rule_says(
    shape: Shape, draw: Draw, offered: Offered, effect: Effect, missing: Missing
) -> None:
    form = shape()
    own = draw(form, 0)
    held = form.own[:3]
    loud = offered(form, scaled(draw(form, 1), b=1e4), held)

    result = merged(form, own, [loud], [0.5, 0.5], missing=missing)

    far = moved(form, effect, own, result.state)
    assert np.all(far[3:] == 0)
    assert np.all(far[:3] <= CLIP + 1e-5)


def test_the_change_of_a_loud_neighbour_is_bounded_by_ones_own_change(
    shape: Shape, draw: Draw, offered: Offered, effect: Effect
) -> None:
    form = shape()
    start = draw(form, 0)
    own, other = (further(start, draw(form, seed), 0.01) for seed in (1, 2))
    loud = further(start, draw(form, 2), 10.0)

    fair = merged(
        form, own, [offered(form, other, start=start)], [0.5, 0.5], start=start, mixing="updates", clip=0.0
    )
    same = merged(form, own, [offered(form, other, start=start)], [0.5, 0.5], start=start, mixing="updates")
    result = merged(form, own, [offered(form, loud, start=start)], [0.5, 0.5], start=start, mixing="updates")

    assert all(np.array_equal(fair.state[name], same.state[name]) for name in fair.state)
    changes = np.array(
        [np.linalg.norm(effect(form, own, unit) - effect(form, start, unit)) for unit in form.own]
    )
    far = [np.linalg.norm(effect(form, result.state, unit) - effect(form, own, unit)) for unit in form.own]
    assert np.all(np.array(far) <= CLIP * np.maximum(changes, np.sqrt(np.mean(changes**2))) + 1e-5)


@settings(max_examples=50)
@given(
    a=st.floats(width=32, allow_nan=False, allow_infinity=False),
    b=st.floats(width=32, allow_nan=False, allow_infinity=False),
    rule=st.sampled_from(RULES),
    weight=st.floats(0.01, 1),
)
def test_no_finite_numbers_make_a_merge_that_is_not_finite(
    shape: Shape, draw: Draw, offered: Offered, a: float, b: float, rule: MergeRule, weight: float
) -> None:
    form = shape()
    own = draw(form, 0)
    filled = {name: np.full_like(value, a if name.endswith("lora_A") else b) for name, value in own.items()}

    result = merged(form, own, [offered(form, filled)], [1 - weight, weight], rule)

    assert all(np.isfinite(value).all() for value in result.state.values())
    assert max(np.abs(value).max() for value in result.state.values()) < 1e3


@pytest.mark.parametrize("mixing", ["parameters", "updates"])
def test_the_moves_of_a_learned_row_are_clipped_tensor_by_tensor(
    shape: Shape, draw: Draw, sent: Callable[..., bytes], mixing: Mixing
) -> None:
    form = shape()
    own, start = draw(form, 0), form.start(0)
    config = LearnerConfig(adapter=form.config, mixing=mixing)
    neighbours = Neighbours(UpdateFormat(form, mixing), config)
    updates = [
        Content.of(sent(form, other, mixing=mixing))
        for other in (draw(form, 1), scaled(draw(form, 2), b=1e12), scaled(draw(form, 2), b=100.0))
    ]

    _, (mine, fair, wild, loud) = neighbours.moves(updates, Target(OwnAdapter(own, start, form.own)))

    for suffix in ("lora_A", "lora_B"):
        names = [name for name in mine if name.endswith(suffix)]
        sizes = np.array([np.linalg.norm(mine[name]) for name in names])
        tau = CLIP * np.maximum(sizes, np.sqrt(np.mean(sizes**2)))
        far = {
            who: np.array([np.linalg.norm(move[name] - mine[name]) for name in names])
            for who, move in (("fair", fair), ("wild", wild), ("loud", loud))
        }
        assert np.all(far["fair"] > 0)
        assert np.all(far["loud"] <= tau * (1 + 1e-5))
        if suffix == "lora_B":
            assert np.all(far["wild"] == 0)
            np.testing.assert_allclose(far["loud"], tau, rtol=1e-5)


def test_without_a_clip_moves_stay_as_they_are(shape: Shape, draw: Draw) -> None:
    form = shape()
    moves: list[Any] = [draw(form, 0), scaled(draw(form, 1), b=1e12)]

    assert clipped_moves(moves, 0.0) == moves


def test_where_an_adapter_stays_beside_the_mix_its_size_is_the_yardstick(
    shape: Shape, draw: Draw, offered: Offered, effect: Any
) -> None:
    """A second adapter that is still zero gives none of its own."""
    form = shape()
    own, loud = draw(form, 0), scaled(draw(form, 1), b=100.0)
    rest = form.start(0)
    sizes = np.array([np.linalg.norm(effect(form, own, unit)) for unit in form.own])
    tau = CLIP * np.maximum(sizes, np.sqrt(np.mean(sizes**2)))

    bounded, free = (
        Stack(form, OwnAdapter(rest, rest, form.own, beside=stays), [offered(form, loud)], clip=CLIP)
        .merge([0.5, 0.5], "svd")
        .state
        for stays in (own, None)
    )

    moved, wild = (
        np.array([np.linalg.norm(effect(form, state, unit)) for unit in form.own])
        for state in (bounded, free)
    )
    assert np.all(moved <= 0.5 * tau * (1 + 1e-4))
    assert np.all(wild > tau)
