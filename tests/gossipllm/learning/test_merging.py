"""Laws and closed forms of merging. s = alpha / rank scales an adapter's update s B A."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.learning.merging import Stack

ALPHA = 8.0
SHAPES = {"attn": (24, 40), "mlp.down": (40, 24), "mlp.up": (40, 24)}
Rule = Literal["svd", "mean"]


def adapter(seed: int, *, rank: int = 4, shared_a: bool = False) -> dict[str, np.ndarray]:
    rng, common = np.random.default_rng(seed), np.random.default_rng(99)
    state: dict[str, np.ndarray] = {}
    for name, (outputs, inputs) in SHAPES.items():
        a = (common if shared_a else rng).uniform(-1, 1, (rank, inputs)) / inputs**0.5
        state[name + ".lora_A"] = a.astype(np.float32)
        state[name + ".lora_B"] = rng.normal(0, 0.05, (outputs, rank)).astype(np.float32)
    return state


def product(state: dict[str, np.ndarray], name: str) -> np.ndarray:
    a, b = state[name + ".lora_A"].astype(np.float64), state[name + ".lora_B"].astype(np.float64)
    return ALPHA / a.shape[0] * b @ a


def mixture(row: list[float], states: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    return np.sum([w * product(state, name) for w, state in zip(row, states, strict=True)], axis=0)


@given(seed=st.integers(0, 1000), parts=st.lists(st.floats(0.05, 1), min_size=2, max_size=5))
def test_svd_is_the_best_approximation_that_the_rank_allows(seed: int, parts: list[float]) -> None:
    row = [part / sum(parts) for part in parts]
    states = [adapter(seed + j, rank=4 if j == 0 else 3 + j) for j in range(len(row))]

    merged = Stack(states, alpha=ALPHA).merge(row, "svd")

    dropped = whole = 0.0
    for name in SHAPES:
        exact = mixture(row, states, name)
        u, sigma, vt = np.linalg.svd(exact, full_matrices=False)
        best = (u[:, :4] * sigma[:4]) @ vt[:4]
        assert np.abs(product(merged.state, name) - best).max() < 1e-5 * sigma[0]
        dropped += (sigma[4:] ** 2).sum()
        whole += (sigma**2).sum()
    assert merged.discarded == pytest.approx((dropped / whole) ** 0.5, abs=1e-6)


def test_the_mean_averages_each_factor() -> None:
    states = [adapter(0), adapter(1)]

    merged = Stack(states, alpha=ALPHA).merge([0.75, 0.25], "mean")

    for name, values in merged.state.items():
        np.testing.assert_allclose(values, 0.75 * states[0][name] + 0.25 * states[1][name], atol=1e-7)


def test_the_mean_misses_the_mixture_by_the_weighted_covariance_of_the_factors() -> None:
    states, row = [adapter(0), adapter(1), adapter(2)], [0.5, 0.3, 0.2]

    merged = Stack(states, alpha=ALPHA).merge(row, "mean")

    exact = np.concatenate([mixture(row, states, name).ravel() for name in SHAPES])
    missed = exact - np.concatenate([product(merged.state, name).ravel() for name in SHAPES])
    assert merged.discarded == pytest.approx(np.linalg.norm(missed) / np.linalg.norm(exact), rel=1e-5)


@pytest.mark.parametrize("rule", ["svd", "mean"])
@pytest.mark.parametrize("chosen", [0, 1])
def test_a_row_with_one_entry_gives_that_adapter_bit_for_bit(rule: Rule, chosen: int) -> None:
    states = [adapter(0), adapter(1)]
    row = [1.0 - chosen, float(chosen)]

    merged = Stack(states, alpha=ALPHA).merge(row, rule)

    assert all(np.array_equal(values, states[chosen][name]) for name, values in merged.state.items())
    assert merged.discarded == 0


@pytest.mark.parametrize("chosen", [0, 1])
def test_the_short_cut_agrees_with_the_long_way(chosen: int) -> None:
    states = [adapter(0), adapter(1)]
    row = np.array([1.0 - chosen, float(chosen)])

    long_way = Stack(states, alpha=ALPHA).svd(row)

    for name in SHAPES:
        np.testing.assert_allclose(product(long_way.state, name), product(states[chosen], name), atol=1e-6)
    assert long_way.discarded < 1e-6


@pytest.mark.parametrize("rule", ["svd", "mean"])
def test_equal_adapters_merge_to_themselves(rule: Rule) -> None:
    own = adapter(3)

    merged = Stack([own, dict(own), dict(own)], alpha=ALPHA).merge([0.2, 0.3, 0.5], rule)

    for name, values in merged.state.items():
        np.testing.assert_allclose(values, own[name], atol=1e-6, err_msg=name)


def test_adapters_that_share_a_keep_it_and_average_b() -> None:
    states = [adapter(j, shared_a=True) for j in range(3)]

    merged = Stack(states, alpha=ALPHA).merge([0.5, 0.25, 0.25], "svd")

    for name in SHAPES:
        mean_b = sum(w * s[name + ".lora_B"] for w, s in zip([0.5, 0.25, 0.25], states, strict=True))
        np.testing.assert_allclose(merged.state[name + ".lora_A"], states[0][name + ".lora_A"], atol=1e-6)
        np.testing.assert_allclose(merged.state[name + ".lora_B"], mean_b, atol=1e-6)
    assert merged.discarded < 1e-6


def test_a_small_change_of_the_neighbour_moves_the_factors_a_little() -> None:
    """AdamW's moments belong to coordinates, so coordinates must not turn where the update did not."""
    own, near = adapter(0), adapter(0)
    rng = np.random.default_rng(5)
    near = {name: (v + rng.normal(0, 1e-4, v.shape)).astype(np.float32) for name, v in near.items()}

    merged = Stack([own, near], alpha=ALPHA).merge([0.5, 0.5], "svd")

    for name, values in merged.state.items():
        assert np.abs(values - own[name]).max() < 2e-3, name


def test_merging_adapters_that_learnt_nothing_keeps_a_alive() -> None:
    states = [adapter(0, shared_a=True), adapter(1, shared_a=True)]
    for state in states:
        for name in SHAPES:
            state[name + ".lora_B"] = np.zeros_like(state[name + ".lora_B"])

    merged = Stack(states, alpha=ALPHA).merge([0.5, 0.5], "svd")

    for name in SHAPES:
        np.testing.assert_allclose(merged.state[name + ".lora_A"], states[0][name + ".lora_A"], atol=1e-6)
        assert not merged.state[name + ".lora_B"].any()
    assert merged.discarded == 0


def test_a_neighbour_whose_a_has_nothing_in_common_leaves_both_factors_of_usable_size() -> None:
    own, other = adapter(0), adapter(1)
    for name, (_, inputs) in SHAPES.items():
        own[name + ".lora_A"][:, inputs // 2 :] = 0
        other[name + ".lora_A"][:, : inputs // 2] = 0

    merged = Stack([own, other], alpha=ALPHA).svd(np.array([0.0, 1.0]))

    for name in SHAPES:
        np.testing.assert_allclose(product(merged.state, name), product(other, name), atol=1e-6)
        assert np.linalg.cond(merged.state[name + ".lora_A"]) < 100


def test_ranks_above_the_width_are_merged_too() -> None:
    states = [
        {"m.lora_A": s["attn.lora_A"][:, :3], "m.lora_B": s["attn.lora_B"][:2]}
        for s in (adapter(0), adapter(1))
    ]

    merged = Stack(states, alpha=ALPHA).merge([0.5, 0.5], "svd")

    np.testing.assert_allclose(product(merged.state, "m"), mixture([0.5, 0.5], states, "m"), atol=1e-6)


@pytest.mark.parametrize("row", [[0.5], [0.7, 0.7], [float("nan"), 1.0]])
def test_what_is_no_row_is_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="row must"):
        Stack([adapter(0), adapter(1)], alpha=ALPHA).merge(row, "svd")


def test_the_mean_of_unequal_ranks_is_refused() -> None:
    with pytest.raises(ValueError, match="equal ranks"):
        Stack([adapter(0), adapter(1, rank=3)], alpha=ALPHA).merge([0.5, 0.5], "mean")
