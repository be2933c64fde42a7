"""Laws and closed forms of merging, unit by unit. s = alpha / rank scales an adapter's update s B A."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipllm.learning.merging import MergedState, Own, Stack, completed
from gossipllm.learning.updates import Update
from gossipllm.model.blueprint import Blueprint
from gossipllm.model.names import State

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]
Rule = Literal["svd", "mean", "pad"]

RULES: tuple[Rule, ...] = ("svd", "mean", "pad")
FEWER = settings(max_examples=20)
"""Of each kind of adapter and each rule."""
KINDS = ("both", "b", "heads", "full", "bias")
rows = st.lists(st.floats(0.05, 1), min_size=3, max_size=3).map(lambda parts: [p / sum(parts) for p in parts])


def merge(
    form: Blueprint,
    own: State,
    updates: Sequence[Update],
    row: Sequence[float],
    rule: Rule = "svd",
    *,
    missing: Literal["renorm", "kept", "self"] = "renorm",
    held: Sequence[int] | None = None,
) -> MergedState:
    mine = Own(own, own, form.own if held is None else held)
    return Stack(form, mine, updates).merge(row, rule, missing)


def effect(form: Blueprint, state: State, unit: int) -> np.ndarray:
    """What a unit of an adapter adds to the base, as one vector."""
    parts: list[np.ndarray] = []
    for cut in form.cuts([unit]):
        module, _, end = cut.tensor.rpartition(".")
        if end not in ("lora_A", "lora_B"):
            parts.append(state[cut.tensor].astype(np.float64))
            continue
        a, b = (state[f"{module}.{factor}"].astype(np.float64) for factor in ("lora_A", "lora_B"))
        a, b = (cut.of(a), b) if end == "lora_A" else (a, cut.of(b))
        parts.append(form.scale * b @ a)
    return np.concatenate([part.ravel() for part in parts])


def mixture(row: Sequence[float], voices: Sequence[tuple[Blueprint, State]], unit: int) -> np.ndarray:
    return np.sum(
        [w * effect(form, state, unit) for w, (form, state) in zip(row, voices, strict=True)], axis=0
    )


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


# -- laws that hold for every kind of adapter and every rule ---------------------------------------------


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chosen", [0, 1])
def test_a_row_with_one_entry_gives_that_adapter_bit_for_bit(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: Rule, chosen: int
) -> None:
    form = shape(train=train)
    states = [draw(form, 0), draw(form, 1)]

    merged = merge(form, states[0], [offered(form, states[1])], [1.0 - chosen, float(chosen)], rule)

    assert same(merged.state, states[chosen])
    assert merged.discarded == 0


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", RULES)
def test_equal_adapters_merge_to_themselves(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: Rule
) -> None:
    form = shape(train=train)
    own = draw(form, 3)

    merged = merge(form, own, [offered(form, own), offered(form, own)], [0.2, 0.3, 0.5], rule)

    for name, values in merged.state.items():
        np.testing.assert_allclose(values, own[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", RULES)
@FEWER
@given(data=st.data(), row=rows)
def test_each_unit_is_merged_over_its_holders_alone(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: Rule, data: st.DataObject, row: list[float]
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
        elif rule != "svd" or train != "both":
            total = sum(row[peer] for peer in holders)
            for piece in before[0]:
                mean = sum(row[peer] / total * before[peer][piece].astype(np.float64) for peer in holders)
                np.testing.assert_allclose(mine[piece], mean, atol=1e-6)


@pytest.mark.parametrize("train", KINDS)
@FEWER
@given(units=st.integers(1, 3), row=rows)
def test_what_absent_ones_had_goes_to_ones_own_where_missing_is_self(
    shape: Shape, draw: Draw, offered: Offered, train: str, units: int, row: list[float]
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
    shape: Shape, draw: Draw, offered: Offered, train: str
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


@pytest.mark.parametrize("rule", RULES)
def test_a_unit_that_nobody_holds_with_weight_stays_bit_for_bit(
    shape: Shape, draw: Draw, offered: Offered, rule: Rule
) -> None:
    form = shape()
    own, other = draw(form, 0), draw(form, 1)

    merged = merge(form, own, [offered(form, other, form.own[:3])], [0.0, 1.0], rule, held=()).state

    assert all(np.array_equal(merged[name], own[name]) for name in form.tensors_of(form.own[3:]))
    assert all(np.array_equal(merged[name], other[name]) for name in form.tensors_of(form.own[:3]))


@FEWER
@given(row=rows)
def test_a_peer_that_leaves_leaves_the_ratios_of_the_others(
    shape: Shape, draw: Draw, offered: Offered, row: list[float]
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
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: Rule
) -> None:
    form = shape(train=train)
    own, other = draw(form, 0), draw(form, 1)

    merged = merge(form, own, [offered(form, other)], [0.4, 0.6], rule).state

    assert form.frozen
    assert all(np.array_equal(merged[name], values) for name, values in form.frozen.items())


# -- unequal ranks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mine", "theirs"), [(16, 2), (2, 16), (8, 4)])
@pytest.mark.parametrize("train", ["both", "b", "heads"])
def test_svd_is_the_best_that_the_own_rank_allows(
    shape: Shape, draw: Draw, offered: Offered, train: str, mine: int, theirs: int
) -> None:
    form, other = shape(train=train, rank=mine), shape(train=train, rank=theirs)
    own, state, row = draw(form, 0), draw(other, 1), [0.3, 0.7]

    merged = merge(form, own, [offered(other, state)], row)

    lacking = whole = 0.0
    for unit in form.own:
        exact = mixture(row, [(form, own), (other, state)], unit)
        got = effect(form, merged.state, unit)
        lacking += float(((exact - got) ** 2).sum())
        whole += float((exact**2).sum())
        if train == "both":
            (cut, _) = form.cuts([unit])
            sigma = np.linalg.svd(exact.reshape(-1, own[cut.tensor].shape[1]), compute_uv=False)
            best = float((sigma[mine:] ** 2).sum())
            assert float(((exact - got) ** 2).sum()) == pytest.approx(best, abs=1e-9)
    assert merged.discarded == pytest.approx((lacking / whole) ** 0.5, abs=1e-5)


@pytest.mark.parametrize("train", ["b", "heads"])
def test_beside_frozen_factors_a_smaller_rank_merges_exactly_into_a_larger_one(
    shape: Shape, draw: Draw, offered: Offered, train: str
) -> None:
    form, other = shape(train=train, rank=16), shape(train=train, rank=2)
    own, state, row = draw(form, 0), draw(other, 1), [0.3, 0.7]

    for rule in ("svd", "pad"):
        merged = merge(form, own, [offered(other, state)], row, rule)

        for unit in form.own:
            exact = mixture(row, [(form, own), (other, state)], unit)
            np.testing.assert_allclose(effect(form, merged.state, unit), exact, atol=1e-6)
        assert merged.discarded < 1e-6


@pytest.mark.parametrize("train", ["b", "heads"])
def test_projecting_a_larger_rank_misses_less_than_cutting_it_off(
    shape: Shape, draw: Draw, offered: Offered, train: str
) -> None:
    form, other = shape(train=train, rank=2), shape(train=train, rank=16)
    own, update = draw(form, 0), offered(other, draw(other, 1))

    projected, cut = (merge(form, own, [update], [0.5, 0.5], rule).discarded for rule in ("svd", "pad"))

    assert 0 < projected < cut


def test_svd_of_unequal_ranks_is_the_exact_mixture_where_the_rank_suffices(
    shape: Shape, draw: Draw, offered: Offered
) -> None:
    forms = [shape(rank=rank) for rank in (7, 2, 4)]
    states = [draw(form, seed) for seed, form in enumerate(forms)]
    for name, values in states[0].items():
        # One direction of the seven is used, so that 1 + 2 + 4 = 7.
        (values[1:] if name.endswith("A") else values[:, 1:])[...] = 0
    row = [0.2, 0.5, 0.3]

    merged = merge(
        forms[0], states[0], [offered(*pair) for pair in zip(forms[1:], states[1:], strict=True)], row
    )

    for unit in forms[0].own:
        exact = mixture(row, list(zip(forms, states, strict=True)), unit)
        np.testing.assert_allclose(effect(forms[0], merged.state, unit), exact, atol=1e-6)
    assert merged.discarded < 1e-5


def test_padding_keeps_products_and_averages_factors(shape: Shape, draw: Draw, offered: Offered) -> None:
    """HetLoRA with the scales in B: the smaller adapter alone would come out as itself."""
    form, other = shape(rank=4), shape(rank=2)
    own, state = draw(form, 0), draw(other, 1)

    merged = merge(form, own, [offered(other, state)], [0.25, 0.75], "pad").state
    alone = merge(form, own, [offered(other, state)], [0.0, 1.0], "pad").state

    for unit in form.own:
        np.testing.assert_allclose(effect(form, alone, unit), effect(other, state, unit), atol=1e-6)
        a, b = (cut.tensor for cut in form.cuts([unit]))
        np.testing.assert_allclose(merged[a][:2], 0.25 * own[a][:2] + 0.75 * state[a], atol=1e-6)
        np.testing.assert_allclose(merged[a][2:], 0.25 * own[a][2:], atol=1e-6)
        np.testing.assert_allclose(merged[b][:, :2], 0.25 * own[b][:, :2] + 0.75 * 2 * state[b], atol=1e-6)


def test_the_mean_of_unequal_ranks_is_refused(shape: Shape, draw: Draw, offered: Offered) -> None:
    form, other = shape(), shape(rank=3)

    with pytest.raises(ValueError, match="equal ranks"):
        merge(form, draw(form, 0), [offered(other, draw(other, 1))], [0.5, 0.5], "mean")


@pytest.mark.parametrize("ranks", [(4, 4), (4, 2), (2, 16)])
@pytest.mark.parametrize("modules", [(), ("q_proj", "v_proj")])
def test_an_offer_completed_is_theirs_where_they_offer_it_and_ones_own_elsewhere(
    shape: Shape, draw: Draw, offered: Offered, ranks: tuple[int, int], modules: tuple[str, ...]
) -> None:
    form, other = shape(rank=ranks[0]), shape(rank=ranks[1], modules=modules)
    own, state = draw(form, 0), draw(other, 1)

    whole = completed(offered(other, state), own, form)

    assert list(whole) == list(own)
    for unit in form.own:
        if unit not in other.own:
            assert all(np.array_equal(whole[name], own[name]) for name in form.tensors_of([unit]))
        elif ranks[0] >= ranks[1]:
            np.testing.assert_allclose(effect(form, whole, unit), effect(other, state, unit), atol=1e-6)
    if ranks[0] == ranks[1]:
        assert all(np.array_equal(whole[name], state[name]) for name in state)


def test_peers_of_unlike_modules_merge_what_they_have_in_common(
    shape: Shape, draw: Draw, offered: Offered
) -> None:
    form, other = shape(modules=("q_proj", "down_proj")), shape(modules=("q_proj", "v_proj"))
    own, state = draw(form, 0), draw(other, 1)

    merged = merge(form, own, [offered(other, state)], [0.5, 0.5], "mean").state

    assert list(merged) == list(own)
    for name, values in merged.items():
        want = 0.5 * own[name] + 0.5 * state[name] if "q_proj" in name else own[name]
        np.testing.assert_allclose(values, want, atol=1e-7)


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

    stack = Stack(form, Own(states[0], starts[0], form.own), updates, mixing="updates")
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
    shape: Shape, draw: Draw, offered: Offered
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
        Own(states[0], starts[0], form.own),
        [offered(other, states[1], start=starts[1])],
        mixing="updates",
    )
    merged = stack.merge([0.5, 0.5], "svd")

    voices = [(form, states[0]), (other, states[1]), (other, starts[1])]
    for unit in form.own:
        exact = mixture([1.0, 0.5, -0.5], voices, unit)
        np.testing.assert_allclose(effect(form, merged.state, unit), exact, atol=1e-6)


@pytest.mark.parametrize("row", [[0.5], [0.7, 0.7], [float("nan"), 1.0]])
def test_what_is_no_row_is_refused(shape: Shape, draw: Draw, offered: Offered, row: list[float]) -> None:
    form = shape()

    with pytest.raises(ValueError, match="row must"):
        merge(form, draw(form, 0), [offered(form, draw(form, 1))], row)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("rule", ["svd", "pad"])
def test_the_largest_numbers_that_can_be_sent_are_merged_without_a_word(
    shape: Shape, draw: Draw, offered: Offered, train: str, rule: Rule
) -> None:
    """The loss of such a merge says what it is worth."""
    form, other = shape(train=train, rank=16), shape(train=train, rank=2)
    hostile = {name: np.full_like(values, 3e38) for name, values in draw(other, 1).items()}

    merged = merge(form, draw(form, 0), [offered(other, hostile)], [0.1, 0.9], rule)

    assert {name: value.shape for name, value in merged.state.items()} == {
        spec.name: spec.shape for spec in form.layout.tensors
    }
