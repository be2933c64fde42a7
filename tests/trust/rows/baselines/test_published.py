"""Distances and rows as published, against hand-made cases and dense computation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trust.rows.baselines.fomo import progress_distance
from trust.rows.baselines.published import (
    logit_distance,
    parameter_distance,
    perplexity_distance,
    row_cosine_distance,
)
from trust.rows.evidence import MAX_DISTANCE, Distance
from trust.rows.rows import Form, Neighbour, Row, TrustConfig, candidate_rows

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Logits:
    ids_RK: NDArray[np.uint32]
    logits_RK: NDArray[np.float32]


def logits(*lines: dict[int, float]) -> Logits:
    ids = [sorted(line) for line in lines]
    values = [[line[token] for token in sorted(line)] for line in lines]
    return Logits(np.array(ids, np.uint32), np.array(values, np.float32))


def row(strategy: str, form: Form, *means: float, own: float = 0.0, fixed: tuple[str, ...] = ()) -> Row:
    config = TrustConfig(strategy=strategy, form=form, fixed=fixed)
    seen = [
        Neighbour(f"id-{k}", f"name-{k}", (Distance(mean, 0.0),), (own,), 0) for k, mean in enumerate(means)
    ]
    (candidate,) = candidate_rows(config, seen)
    assert candidate.temperature is None
    return candidate.row


def softmax(*exponents: float) -> list[float]:
    weights = [math.exp(exponent) for exponent in exponents]
    return [weight / sum(weights) for weight in weights]


# -- rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["paper-text", "paper-code"])
@pytest.mark.parametrize("peers", [2, 4, 9])
def test_orthogonal_peers_have_the_row_that_the_paper_could_not_explain(form: Form, peers: int) -> None:
    """Every peer draws its own A, so cosines are 0 but with oneself: e / (e + N - 1), and the rest alike."""
    found = row("weights", form, *[1.0] * (peers - 1))
    assert found[0] == pytest.approx(math.e / (math.e + peers - 1))
    assert found[1:] == pytest.approx([1 / (math.e + peers - 1)] * (peers - 1))


def test_cross_entropy_without_a_temperature_is_a_softmax_of_minus_the_losses() -> None:
    # Losses 3, 3.5, 2.5: what is common to all cancels.
    assert row("validation", "paper-text", 0.5, -0.5) == pytest.approx(softmax(-3.0, -3.5, -2.5))


def test_perplexity_selects_one() -> None:
    assert row("validation", "paper-code", 2.0, -40.0, 7.0) == pytest.approx((0, 0, 1, 0), abs=1e-15)


def test_raw_logits_as_printed_select_the_peer_itself() -> None:
    assert row("predictions", "paper-text", 1500.0, 900.0) == (1.0, 0.0, 0.0)


def test_raw_logits_as_run_are_shares_of_the_row_times_ten() -> None:
    assert row("predictions", "paper-code", 1500.0, 500.0) == pytest.approx(softmax(0, -7.5, -2.5))
    # Neighbours at one distance: 10 / K each, whatever the distance, so that the row depends on their number.
    assert row("predictions", "paper-code", 3.0, 3.0) == pytest.approx(softmax(0, -5, -5))
    assert row("predictions", "paper-code", 0.0, 0.0) == pytest.approx([1 / 3] * 3)


def test_fomo_weights_are_in_proportion_to_the_gain_and_zero_without_gain() -> None:
    assert row("fomo", "ours", -3.0, 0.5, -1.0, own=-1.0) == pytest.approx((0.2, 0.6, 0.0, 0.2))


def test_fomo_gives_up_itself_where_only_others_got_better() -> None:
    assert row("fomo", "ours", -3.0, -1.0, own=2.0) == pytest.approx((0.0, 0.75, 0.25))


def test_fomo_keeps_everything_where_no_peer_got_better() -> None:
    assert row("fomo", "ours", 0.0, 0.5, own=0.1) == (1.0, 0.0, 0.0)


# -- fixed rows -------------------------------------------------------------------------------------


def fixed(neighbours: list[tuple[str, str]], *entries: str) -> Row:
    config = TrustConfig(strategy="fixed", fixed=entries)
    (candidate,) = candidate_rows(config, [Neighbour(peer, name, (), (), 0) for peer, name in neighbours])
    return candidate.row


def test_fixed_weights_are_by_id_or_name_and_the_peer_keeps_the_rest() -> None:
    here = [("id-a", "alice"), ("id-b", "bob"), ("id-c", "carol")]
    assert fixed(here, "id-a=0.5", "bob=0.125") == (0.375, 0.5, 0.125, 0.0)


def test_the_peer_keeps_the_fixed_weights_of_absent_peers() -> None:
    assert fixed([("id-a", "alice")], "alice=0.25", "bob=0.75") == (0.75, 0.25)


def test_peers_of_one_name_share_its_fixed_weight() -> None:
    assert fixed([("id-a", "alice"), ("id-b", "alice")], "alice=0.5") == (0.5, 0.25, 0.25)


# -- distances --------------------------------------------------------------------------------------


def adapters(seed: int) -> tuple[Tensors, Tensors]:
    rng = np.random.default_rng(seed)
    shapes = {"m.lora_A": (2, 7), "m.lora_B": (5, 2)}
    mine, theirs = (
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(2)
    )
    return mine, theirs


def test_the_parameter_distance_is_that_of_one_long_vector() -> None:
    mine, theirs = adapters(0)
    a, b = (np.concatenate([one[name].ravel() for name in one]).astype(np.float64) for one in (mine, theirs))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert parameter_distance(mine, theirs).mean == pytest.approx(1 - cosine, abs=1e-12)
    assert parameter_distance(mine, mine).mean == pytest.approx(0, abs=1e-12)


def test_a_zero_adapter_has_distance_one_from_any_other() -> None:
    mine, _ = adapters(1)
    zero = {name: 0 * values for name, values in mine.items()}
    assert parameter_distance(mine, zero) == Distance(1.0, 0.0)
    assert parameter_distance(zero, zero) == Distance(0.0, 0.0)


def test_rows_are_the_inputs_of_a_and_the_ranks_of_b_and_count_alike() -> None:
    mine = {"a": np.array([[1.0, 1.0, 0.0]], np.float32), "b": np.array([[3.0], [0.0]], np.float32)}
    theirs = {"a": np.array([[2.0, -5.0, 1.0]], np.float32), "b": np.array([[3.0], [4.0]], np.float32)}
    # Columns of A: 1, -1 and a zero column, which has 0; the one of B: 9 / (3 * 5).
    assert row_cosine_distance(mine, theirs).mean == pytest.approx(1 - (1 - 1 + 0 + 0.6) / 4)


def test_the_row_cosine_is_that_of_torchs_cosine_similarity() -> None:
    mine, theirs = adapters(2)
    cosines = [
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for name in mine
        for a, b in zip(mine[name].T, theirs[name].T, strict=True)
    ]
    assert row_cosine_distance(mine, theirs).mean == pytest.approx(1 - np.mean(cosines), abs=1e-6)


@pytest.mark.parametrize("distance", [parameter_distance, row_cosine_distance])
def test_adapters_that_do_not_fit_are_a_value_error(distance: Callable[[Tensors, Tensors], Distance]) -> None:
    mine, theirs = adapters(3)
    with pytest.raises(ValueError, match="tensors must be the same"):
        distance(mine, {"m.lora_A": theirs["m.lora_A"]})
    with pytest.raises(ValueError, match="of one shape"):
        distance(mine, theirs | {"m.lora_B": theirs["m.lora_A"]})
    with pytest.raises(ValueError, match=r"m\.lora_A must be finite"):
        distance(mine, theirs | {"m.lora_A": theirs["m.lora_A"] * math.nan})
    with pytest.raises(ValueError, match="tensors must be the same"):
        distance({}, {})


def test_perplexities_by_hand() -> None:
    mine, theirs = np.array([1.0, 3.0]), np.array([1.0])
    assert perplexity_distance(mine, theirs).mean == pytest.approx(math.e - math.e**2)


def test_perplexity_distances_stay_finite() -> None:
    huge, none = np.array([1e6]), np.array([0.0])
    assert 0 < perplexity_distance(none, huge).mean <= MAX_DISTANCE
    assert -MAX_DISTANCE <= perplexity_distance(huge, none).mean < 0
    for bad in (np.array([]), np.array([math.nan])):
        with pytest.raises(ValueError, match="losses must be"):
            perplexity_distance(none, bad)


def test_logits_that_only_one_side_kept_count_in_full() -> None:
    mine = logits({1: -30.0, 2: -31.0}, {0: 5.0, 3: 1.0})
    theirs = logits({1: -30.5, 9: -32.0}, {0: 5.0, 3: 1.0})
    found = logit_distance(mine, theirs)
    assert found.mean == pytest.approx((0.5 + 31 + 32) / 2)
    # Sample deviation of (63.5, 0) is 63.5 / sqrt 2, over sqrt 2 rows.
    assert found.error == pytest.approx(63.5 / 2)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 8))
def test_the_logit_distance_is_that_of_dense_vectors(seed: int, count: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    sides: list[Logits] = []
    dense: list[NDArray[np.float64]] = []
    for _ in range(2):
        ids = np.array([np.sort(rng.choice(12, top, replace=False)) for _ in range(count)])
        values = (rng.normal(size=(count, top)) * 50).astype(np.float32)
        whole = np.zeros((count, 12))
        np.put_along_axis(whole, ids, values.astype(np.float64), 1)
        sides.append(Logits(ids.astype(np.uint32), values))
        dense.append(whole)
    expected = np.abs(dense[0] - dense[1]).sum(axis=1).mean()
    assert logit_distance(*sides).mean == pytest.approx(expected, abs=1e-9)


def test_logits_of_another_shape_are_a_value_error() -> None:
    one, two = logits({1: 0.5}), logits({1: 0.5}, {2: 0.5})
    with pytest.raises(ValueError, match="same shape"):
        logit_distance(one, two)
    with pytest.raises(ValueError, match="logits must have shape"):
        logit_distance(one, Logits(one.ids_RK, two.logits_RK))


# -- FedFomo ----------------------------------------------------------------------------------------


def test_progress_is_minus_the_decrease_of_the_loss_per_distance() -> None:
    assert progress_distance(3.0, 2.5, 0.25) == Distance(-2.0, 0.0)
    assert progress_distance(3.0, 3.5, 0.25) == Distance(2.0, 0.0)


def test_a_step_of_norm_zero_is_no_progress() -> None:
    assert progress_distance(3.0, 2.5, 0.0) == Distance(0.0, 0.0)


def test_progress_stays_finite() -> None:
    assert progress_distance(3.0, 2.5, 5e-324) == Distance(-MAX_DISTANCE, 0.0)
    for losses in ((math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match="losses must be finite"):
            progress_distance(*losses, 1.0)
    for norm in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="step_norm"):
            progress_distance(1.0, 1.0, norm)
