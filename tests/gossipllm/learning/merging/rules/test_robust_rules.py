"""Robust rules on adapters: what an attacker among three honest peers can do to a merge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, LearnerConfig
from gossipllm.config.choices import MERGE_RULES, MergeRule, Train
from gossipllm.learning.merging.neighbours import Neighbours, Target
from gossipllm.learning.merging.stack import OwnAdapter, Stack
from gossipllm.learning.merging.updates import Update, UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]

ROBUST: tuple[MergeRule, ...] = tuple(rule for rule, traits in MERGE_RULES.items() if traits.robust)
KINDS = get_args(Train)
SUMS: tuple[MergeRule, ...] = tuple(rule for rule in ROBUST if MERGE_RULES[rule].unequal_ranks)
UNIFORM = [0.25] * 4


def whole(effect: Any, form: Blueprint, state: State) -> np.ndarray:
    return np.concatenate([effect(form, state, unit) for unit in form.own])


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", ROBUST)
def test_an_attacker_of_a_thousand_times_the_size_moves_no_merge_far(
    shape: Shape, draw: Draw, offered: Offered, effect: Any, merge: Any, train: str, rule: MergeRule
) -> None:
    form = shape(train=train)
    honest = [draw(form, seed) for seed in range(3)]
    attack = {name: (-1e3 * value).astype(np.float32) for name, value in honest[1].items()}
    sizes = [np.linalg.norm(whole(effect, form, state)) for state in honest]

    merged = merge(form, honest[0], [offered(form, one) for one in (*honest[1:], attack)], UNIFORM, rule)
    plain = merge(form, honest[0], [offered(form, one) for one in (*honest[1:], attack)], UNIFORM, "svd")

    assert np.linalg.norm(whole(effect, form, plain.state)) > 50 * max(sizes)
    assert np.linalg.norm(whole(effect, form, merged.state)) < 3 * max(sizes)


@pytest.mark.parametrize("train", KINDS)
def test_krum_merges_to_an_adapter_bit_for_bit(
    shape: Shape, draw: Draw, offered: Offered, merge: Any, train: str
) -> None:
    form = shape(train=train)
    lone, one = draw(form, 0), draw(form, 1)
    near = {name: (value * np.float32(1.001)).astype(np.float32) for name, value in one.items()}

    merged = merge(form, lone, [offered(form, one), offered(form, near)], [0.3, 0.35, 0.35], "krum").state

    sent = [name for name in merged if name not in form.anatomy.kept]
    assert any(all(np.array_equal(merged[name], each[name]) for name in sent) for each in (one, near))


@pytest.mark.parametrize("train", KINDS)
def test_the_median_of_adapters_is_that_of_their_numbers(
    shape: Shape, draw: Draw, offered: Offered, merge: Any, train: str
) -> None:
    form = shape(train=train)
    states = [draw(form, seed) for seed in range(3)]

    merged = merge(form, states[0], [offered(form, one) for one in states[1:]], [1 / 3] * 3, "median")

    for name, values in merged.state.items():
        heard = states[:1] if name in form.anatomy.kept else states
        np.testing.assert_allclose(values, np.median([state[name] for state in heard], axis=0), atol=1e-7)
    assert merged.discarded == 0


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", ROBUST)
def test_robust_rules_compare_changes_where_changes_are_mixed(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: MergeRule
) -> None:
    """Three peers that began far apart and moved alike: their common move, from this peer's own start."""
    form = shape(train=train, rank=16)
    starts = [draw(form, seed) for seed in range(3)]
    step = {
        name: np.full_like(value, 2.0**-7) for name, value in starts[0].items() if name not in form.frozen
    }
    ends = [{name: value + step.get(name, np.float32(0)) for name, value in one.items()} for one in starts]
    updates = [offered(form, end, start=start) for end, start in zip(ends[1:], starts[1:], strict=True)]

    stack = Stack(form, OwnAdapter(ends[0], starts[0], form.own), updates, mixing="updates")
    merged = stack.merge([1 / 3] * 3, rule).state

    if rule in ("median", "trimmed"):
        for name, values in merged.items():
            np.testing.assert_allclose(values, ends[0][name], atol=1e-6, err_msg=name)
    else:
        apart = [np.linalg.norm(merged[name] - ends[0][name]) for name in step]
        further = [np.linalg.norm(merged[name] - end[name]) for end in ends[1:] for name in step]
        assert max(apart) < max(further)


@pytest.mark.parametrize("rule", SUMS)
def test_robust_sums_take_adapters_of_other_ranks(
    shape: Shape, draw: Draw, offered: Offered, effect: Any, merge: Any, rule: MergeRule
) -> None:
    form, small, large = shape(rank=8), shape(rank=2), shape(rank=16)
    own = draw(form, 0)
    updates = [offered(other, draw(other, seed)) for seed, other in enumerate((small, large), start=1)]

    merged = merge(form, own, updates, [1 / 3] * 3, rule)

    assert 0 < np.linalg.norm(whole(effect, form, merged.state)) < np.inf
    assert {name: value.shape for name, value in merged.state.items()} == {
        name: value.shape for name, value in own.items()
    }


@pytest.mark.parametrize("rule", ["median", "trimmed"])
def test_rules_by_number_refuse_other_ranks(
    shape: Shape, draw: Draw, offered: Offered, merge: Any, rule: MergeRule
) -> None:
    form, other = shape(rank=4), shape(rank=2)

    with pytest.raises(ValueError, match=f'"{rule}" needs equal ranks'):
        merge(form, draw(form, 0), [offered(other, draw(other, 1))], [0.5, 0.5], rule)


@pytest.mark.parametrize("rule", ROBUST)
def test_what_one_neighbour_does_at_a_small_weight_is_measured_by_the_sum(
    shape: Shape, draw: Draw, offered: Offered, rule: MergeRule
) -> None:
    """Krum of a weight of 0.9 and one of 0.1 is this peer's own adapter, whatever the neighbour sent."""
    form = shape()
    own, other = draw(form, 0), draw(form, 1)
    neighbours, plain = (
        Neighbours(UpdateFormat(form, config.mixing), config)
        for config in (LearnerConfig(adapter=AdapterConfig(), merge=each) for each in (rule, "svd"))
    )
    mine = Target(OwnAdapter(own, own, form.own))

    beside = neighbours.tried(offered(form, other), 0.1, mine)

    assert not all(np.array_equal(beside[name], own[name]) for name in own)
    want = plain.tried(offered(form, other), 0.1, mine)
    assert all(np.array_equal(beside[name], want[name]) for name in own)
