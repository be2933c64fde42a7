"""Adapters of unequal ranks and unlike modules, merged: what each rule keeps of them, and what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gossipllm.learning.merging.stack import completed
from gossipllm.learning.merging.updates import Update
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]


@pytest.mark.parametrize(("mine", "theirs"), [(16, 2), (2, 16), (8, 4)])
@pytest.mark.parametrize("train", ["both", "b", "heads"])
def test_svd_is_the_best_that_the_own_rank_allows(
    shape: Shape,
    draw: Draw,
    offered: Offered,
    train: str,
    mine: int,
    theirs: int,
    merge: Any,
    effect: Any,
    mixture: Any,
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
    shape: Shape, draw: Draw, offered: Offered, train: str, merge: Any, effect: Any, mixture: Any
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
    shape: Shape, draw: Draw, offered: Offered, train: str, merge: Any
) -> None:
    form, other = shape(train=train, rank=2), shape(train=train, rank=16)
    own, update = draw(form, 0), offered(other, draw(other, 1))

    projected, cut = (merge(form, own, [update], [0.5, 0.5], rule).discarded for rule in ("svd", "pad"))

    assert 0 < projected < cut


def test_svd_of_unequal_ranks_is_the_exact_mixture_where_the_rank_suffices(
    shape: Shape, draw: Draw, offered: Offered, merge: Any, effect: Any, mixture: Any
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


def test_padding_keeps_products_and_averages_factors(
    shape: Shape, draw: Draw, offered: Offered, merge: Any, effect: Any
) -> None:
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


def test_the_mean_of_unequal_ranks_is_refused(shape: Shape, draw: Draw, offered: Offered, merge: Any) -> None:
    form, other = shape(), shape(rank=3)

    with pytest.raises(ValueError, match="equal ranks"):
        merge(form, draw(form, 0), [offered(other, draw(other, 1))], [0.5, 0.5], "mean")


@pytest.mark.parametrize("ranks", [(4, 4), (4, 2), (2, 16)])
@pytest.mark.parametrize("modules", [(), ("q_proj", "v_proj")])
def test_an_offer_completed_is_theirs_where_they_offer_it_and_ones_own_elsewhere(
    shape: Shape, draw: Draw, offered: Offered, ranks: tuple[int, int], modules: tuple[str, ...], effect: Any
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
    shape: Shape, draw: Draw, offered: Offered, merge: Any
) -> None:
    form, other = shape(modules=("q_proj", "down_proj")), shape(modules=("q_proj", "v_proj"))
    own, state = draw(form, 0), draw(other, 1)

    merged = merge(form, own, [offered(other, state)], [0.5, 0.5], "mean").state

    assert list(merged) == list(own)
    for name, values in merged.items():
        want = 0.5 * own[name] + 0.5 * state[name] if "q_proj" in name else own[name]
        np.testing.assert_allclose(values, want, atol=1e-7)
