"""Laws and closed forms of merging, unit by unit. s = alpha / rank scales an adapter's update s B A."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipllm.config.choices import MERGE_RULES, TRAINS, MergeRule, Train
from gossipllm.learning.merging.stack import OwnAdapter, Stack
from gossipllm.learning.merging.updates import Update
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]

RULES = tuple(MERGE_RULES)
UNSCALED = tuple(rule for rule in RULES if rule != "fltrust")
"""Rules that leave a single adapter as it is: FLTrust brings it to this peer's size."""
MIXTURES = tuple(rule for rule, traits in MERGE_RULES.items() if not traits.robust)
FEWER = settings(max_examples=20)
"""Of each kind of adapter and each rule."""
KINDS = get_args(Train)
rows = st.lists(st.floats(0.05, 1), min_size=3, max_size=3).map(lambda parts: [p / sum(parts) for p in parts])


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


# -- laws that hold for every kind of adapter and every rule ---------------------------------------------


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", UNSCALED)
@pytest.mark.parametrize("chosen", [0, 1])
def test_a_row_with_one_entry_gives_that_adapter_bit_for_bit(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: MergeRule, chosen: int, merge: Any
) -> None:
    form = shape(train=train)
    states = [draw(form, 0), draw(form, 1)]

    merged = merge(form, states[0], [offered(form, states[1])], [1.0 - chosen, float(chosen)], rule)

    stays = {name: states[0][name] for name in form.anatomy.kept}
    assert same(merged.state, {**states[chosen], **stays})
    assert merged.discarded == 0


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", RULES)
def test_equal_adapters_merge_to_themselves(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: MergeRule, merge: Any
) -> None:
    form = shape(train=train)
    own = draw(form, 3)

    merged = merge(form, own, [offered(form, own), offered(form, own)], [0.2, 0.3, 0.5], rule)

    for name, values in merged.state.items():
        np.testing.assert_allclose(values, own[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", UNSCALED)
@FEWER
@given(data=st.data(), row=rows)
def test_each_unit_is_merged_over_its_holders_alone(
    shape: Shape,
    draw: Draw,
    offered: Offered,
    train: str,
    rule: MergeRule,
    data: st.DataObject,
    row: list[float],
    merge: Any,
) -> None:
    form = shape(train=train)
    some = st.sets(st.sampled_from(form.own), min_size=1)
    held = [data.draw(some), data.draw(some), data.draw(some)]
    states = [draw(form, seed) for seed in range(3)]
    updates = [offered(form, state, sorted(units)) for state, units in zip(states[1:], held[1:], strict=True)]

    merged = merge(form, states[0], updates, row, rule, held=sorted(held[0])).state

    mine = form.pieces(merged, form.own)
    for unit in form.own:
        holders = [peer for peer in range(3) if unit in held[peer]]
        before = [form.pieces(state, [unit]) for state in states]
        if len(holders) < 2:
            want = before[holders[0]] if holders else before[0]
            assert all(np.array_equal(mine[piece], values) for piece, values in want.items())
        elif rule in MIXTURES and (rule != "svd" or train != "both"):
            total = sum(row[peer] for peer in holders)
            for piece in before[0]:
                mean = sum(row[peer] / total * before[peer][piece].astype(np.float64) for peer in holders)
                np.testing.assert_allclose(mine[piece], mean, atol=1e-6)


@pytest.mark.parametrize("train", KINDS)
@FEWER
@given(units=st.integers(1, 3), row=rows)
def test_what_absent_ones_had_goes_to_ones_own_where_missing_is_self(
    shape: Shape, draw: Draw, offered: Offered, train: str, units: int, row: list[float], merge: Any
) -> None:
    form = shape(train=train)
    own, other, third = (draw(form, seed) for seed in range(3))
    few = form.own[:units]

    merged = merge(
        form, own, [offered(form, other, few), offered(form, third)], row, "pad", missing="self", held=few
    ).state

    for unit in form.own:
        weights = row if unit in few else [row[0] + row[1], 0.0, row[2]]
        for cut in form.cuts([unit]):
            mean = sum(
                weight * cut.of(state[cut.tensor]).astype(np.float64)
                for weight, state in zip(weights, (own, other, third), strict=True)
            )
            np.testing.assert_allclose(cut.of(merged[cut.tensor]), mean, atol=1e-6)


@pytest.mark.parametrize("train", KINDS)
def test_ones_own_unit_counts_untrained_where_it_is_kept(
    shape: Shape, draw: Draw, offered: Offered, train: str, merge: Any
) -> None:
    form = shape(train=train)
    own, other, third = (draw(form, seed) for seed in range(3))
    few, row = form.own[:2], [0.6, 0.2, 0.2]

    updates = [offered(form, other, few), offered(form, third, form.own[2:])]
    merged = merge(form, own, updates, row, "mean", missing="kept", held=()).state

    for unit in form.own:
        holder = other if unit in few else third
        for cut in form.cuts([unit]):
            want = 0.75 * cut.of(own[cut.tensor]) + 0.25 * cut.of(holder[cut.tensor])
            np.testing.assert_allclose(cut.of(merged[cut.tensor]), want, atol=1e-6)


@pytest.mark.parametrize("rule", UNSCALED)
def test_a_unit_that_nobody_holds_with_weight_stays_bit_for_bit(
    shape: Shape, draw: Draw, offered: Offered, rule: MergeRule, merge: Any
) -> None:
    form = shape()
    own, other = draw(form, 0), draw(form, 1)

    merged = merge(form, own, [offered(form, other, form.own[:3])], [0.0, 1.0], rule, held=()).state

    assert all(np.array_equal(merged[name], own[name]) for name in form.tensors_of(form.own[3:]))
    assert all(np.array_equal(merged[name], other[name]) for name in form.tensors_of(form.own[:3]))


@FEWER
@given(row=rows)
def test_a_peer_that_leaves_leaves_the_ratios_of_the_others(
    shape: Shape, draw: Draw, offered: Offered, row: list[float], merge: Any
) -> None:
    form = shape(train="full")
    states = [draw(form, seed) for seed in range(3)]
    few = form.own[:4]

    without = merge(form, states[0], [offered(form, states[1])], [w / sum(row[:2]) for w in row[:2]]).state
    absent = merge(form, states[0], [offered(form, states[1]), offered(form, states[2], few)], row).state

    for name in form.tensors_of(form.own[4:]):
        np.testing.assert_allclose(absent[name], without[name], atol=1e-6)


@pytest.mark.parametrize("train", ["b", "heads"])
@pytest.mark.parametrize("rule", RULES)
def test_what_is_frozen_is_never_touched(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: MergeRule, merge: Any
) -> None:
    form = shape(train=train)
    own, other = draw(form, 0), draw(form, 1)

    merged = merge(form, own, [offered(form, other)], [0.4, 0.6], rule).state

    assert form.frozen
    assert all(np.array_equal(merged[name], values) for name, values in form.frozen.items())


# -- mixing updates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", KINDS)
@FEWER
@given(row=rows)
def test_mixing_updates_adds_the_weighted_gains_to_the_own_start(
    shape: Shape, draw: Draw, offered: Offered, train: str, row: list[float]
) -> None:
    form = shape(train=train)
    states, starts = [draw(form, j) for j in range(3)], [draw(form, 10 + j) for j in range(3)]
    few = form.own[::2]
    updates = [
        offered(form, states[1], start=starts[1]),
        offered(form, states[2], few, start=starts[2]),
    ]

    stack = Stack(form, OwnAdapter(states[0], starts[0], form.own), updates, mixing="updates")
    merged = stack.merge(row, "pad").state

    for unit in form.own:
        there = (0, 1, 2) if unit in few else (0, 1)
        total = sum(row[peer] for peer in there)
        for cut in form.cuts([unit]):
            want = cut.of(starts[0][cut.tensor]) + sum(
                row[j] / total * (cut.of(states[j][cut.tensor]) - cut.of(starts[j][cut.tensor]))
                for j in there
            )
            np.testing.assert_allclose(cut.of(merged[cut.tensor]), want, atol=1e-6)


def test_gains_are_mixed_exactly_by_svd_whatever_the_ranks(
    shape: Shape, draw: Draw, offered: Offered, effect: Any, mixture: Any
) -> None:
    form, other = shape(rank=16), shape(rank=2)
    states, starts = [draw(form, 0), draw(other, 1)], [draw(form, 0), draw(other, 3)]
    for state, start in zip(states[:1], starts[:1], strict=True):
        # Half of the own rank is used: with both of the other's adapters the mixture has 8 + 2 + 2 dimensions.
        for name in state:
            for one in (state, start):
                (one[name][8:] if name.endswith("A") else one[name][:, 8:])[...] = 0

    stack = Stack(
        form,
        OwnAdapter(states[0], starts[0], form.own),
        [offered(other, states[1], start=starts[1])],
        mixing="updates",
    )
    merged = stack.merge([0.5, 0.5], "svd")

    voices = [(form, states[0]), (other, states[1]), (other, starts[1])]
    for unit in form.own:
        exact = mixture([1.0, 0.5, -0.5], voices, unit)
        np.testing.assert_allclose(effect(form, merged.state, unit), exact, atol=1e-6)


@pytest.mark.parametrize("row", [[0.5], [0.7, 0.7], [float("nan"), 1.0]])
def test_what_is_no_row_is_refused(
    shape: Shape, draw: Draw, offered: Offered, row: list[float], merge: Any
) -> None:
    form = shape()

    with pytest.raises(ValueError, match="row must"):
        merge(form, draw(form, 0), [offered(form, draw(form, 1))], row)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("train", [one for one in KINDS if TRAINS[one].sends_products])
@pytest.mark.parametrize("rule", ["svd", "pad"])
def test_the_largest_numbers_that_can_be_sent_are_merged_without_a_word(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: MergeRule, merge: Any
) -> None:
    """The loss of such a merge says what it is worth."""
    form, other = shape(train=train, rank=16), shape(train=train, rank=2)
    hostile = {name: np.full_like(values, 3e38) for name, values in draw(other, 1).items()}

    merged = merge(form, draw(form, 0), [offered(other, hostile)], [0.1, 0.9], rule)

    assert {name: value.shape for name, value in merged.state.items()} == {
        spec.name: spec.shape for spec in form.layout.tensors
    }


@pytest.mark.parametrize(
    ("rule", "ranks"), [("mean", (4, 4)), ("pad", (4, 4)), ("pad", (2, 16)), ("svd", (2, 16))]
)
def test_every_rule_says_what_its_result_lacks_of_the_exact_mixture(
    shape: Shape,
    draw: Draw,
    offered: Offered,
    rule: MergeRule,
    ranks: tuple[int, int],
    merge: Any,
    effect: Any,
    mixture: Any,
) -> None:
    """The share is that of the dense matrices over all units: ||sum_j w_j s_j B_j A_j - s B A|| / ||sum_j ...||."""
    form, row = shape(rank=4), [0.5, 0.3, 0.2]
    voices = [(form, draw(form, 0)), *((shape(rank=rank), draw(shape(rank=rank), rank)) for rank in ranks)]

    merged = merge(form, voices[0][1], [offered(*voice) for voice in voices[1:]], row, rule)

    exact = np.concatenate([mixture(row, voices, unit) for unit in form.own])
    result = np.concatenate([effect(form, merged.state, unit) for unit in form.own])
    assert merged.discarded > 0.01
    assert merged.discarded == pytest.approx(np.linalg.norm(exact - result) / np.linalg.norm(exact), rel=1e-4)


def test_ranks_beyond_the_own_are_projected_on_the_span_of_the_own_frozen_factor(
    shape: Shape, draw: Draw, offered: Offered, merge: Any, effect: Any, mixture: Any
) -> None:
    """With A frozen, "svd" gives the B that is nearest to the exact mixture: what is lacking is orthogonal to A."""
    form, other = shape(train="b", rank=2), shape(train="b", rank=16)
    voices, row = [(form, draw(form, 0)), (other, draw(other, 1))], [0.4, 0.6]

    merged = merge(form, voices[0][1], [offered(*voices[1])], row, "svd")

    for unit in form.own:
        (cut,) = form.cuts([unit])
        a_RI = merged.state[cut.tensor.removesuffix("lora_B") + "lora_A"].astype(np.float64)
        lacking_OI = (mixture(row, voices, unit) - effect(form, merged.state, unit)).reshape(
            -1, a_RI.shape[1]
        )
        size = np.linalg.norm(lacking_OI) * np.linalg.norm(a_RI)
        assert size > 0
        assert np.linalg.norm(lacking_OI @ a_RI.T) < 1e-5 * size
