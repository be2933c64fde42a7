"""The three distances against hand-made cases and against dense computation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trust.rows.evidence import Distance, Factors, prediction_distance, validation_distance, weight_distance

TOLERANCE = 1e-9
"""Float64 sums of a few thousand terms, in another order."""


@dataclass(frozen=True, eq=False)
class Rows:
    ids_RK: NDArray[np.uint32]
    logp_RK: NDArray[np.float32]
    tail_R: NDArray[np.float32]


def rows(*lines: dict[int, float]) -> Rows:
    """Rows from {id: probability}; the tail is what is missing to 1."""
    ids = [sorted(line) for line in lines]
    mass = [[line[token] for token in sorted(line)] for line in lines]
    with np.errstate(divide="ignore"):
        logp = np.log(np.array(mass, np.float64)).astype(np.float32)
    tails = np.array([1 - sum(line.values()) for line in lines], np.float32)
    return Rows(np.array(ids, np.uint32), logp, tails)


def random_rows(rng: np.random.Generator, *, count: int, top: int, vocabulary: int) -> Rows:
    ids = np.array([np.sort(rng.choice(vocabulary, top, replace=False)) for _ in range(count)])
    mass = rng.dirichlet(np.ones(top + 1), size=count)
    return Rows(
        ids.astype(np.uint32), np.log(mass[:, :top]).astype(np.float32), mass[:, top].astype(np.float32)
    )


def dense(predictions: Rows, vocabulary: int) -> NDArray[np.float64]:
    """One column for each token, and the tail in a last one."""
    whole = np.zeros((len(predictions.tail_R), vocabulary + 1))
    np.put_along_axis(
        whole, predictions.ids_RK.astype(np.int64), np.exp(predictions.logp_RK.astype(np.float64)), 1
    )
    whole[:, -1] = predictions.tail_R
    return whole


def random_update(rng: np.random.Generator, *, rank: int) -> dict[str, Factors]:
    return {
        name: Factors(
            rng.normal(size=(rank, inputs)).astype(np.float32),
            rng.normal(size=(outputs, rank)).astype(np.float32),
        )
        for name, inputs, outputs in (("up", 12, 20), ("down", 20, 12))
    }


def flat(update: dict[str, Factors]) -> NDArray[np.float64]:
    """The product of the factors in full, module after module."""
    modules = (update[name] for name in sorted(update))
    return np.concatenate([(m.b_OR.astype(np.float64) @ m.a_RI.astype(np.float64)).ravel() for m in modules])


@pytest.mark.parametrize("ranks", [(1, 1), (4, 4), (2, 7)])
def test_the_weight_distance_is_that_of_the_products_in_full(ranks: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    mine, theirs = (random_update(rng, rank=rank) for rank in ranks)
    a, b = flat(mine), flat(theirs)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    found = weight_distance(mine, theirs)
    assert found.mean == pytest.approx(1 - cosine, abs=TOLERANCE)
    assert found.error == 0


def test_other_factors_of_the_same_update_have_distance_zero() -> None:
    mine = random_update(np.random.default_rng(1), rank=3)
    turn = np.array([[2, 1, 0], [0, 1, 0], [0, 3, 1]], np.float32)
    undo = np.linalg.inv(turn).astype(np.float32)
    theirs = {name: Factors(undo @ m.a_RI, m.b_OR @ turn) for name, m in mine.items()}
    # float32 factors: the products agree to about 1e-7 each, and the cosine to the square of that.
    assert weight_distance(mine, theirs).mean == pytest.approx(0, abs=1e-9)


def test_an_update_and_its_opposite_are_two_apart_at_any_size() -> None:
    mine = random_update(np.random.default_rng(2), rank=2)
    theirs = {name: Factors(m.a_RI, -1e18 * m.b_OR) for name, m in mine.items()}
    assert weight_distance(mine, theirs).mean == pytest.approx(2, abs=1e-6)


def test_the_largest_finite_factors_overflow_nothing() -> None:
    huge = {"m": Factors(np.full((2, 64), 3e38, np.float32), np.full((64, 2), 3e38, np.float32))}
    assert weight_distance(huge, huge).mean == pytest.approx(0, abs=TOLERANCE)


def test_a_zero_update_is_one_away_from_all_but_another_zero() -> None:
    some = random_update(np.random.default_rng(3), rank=2)
    zero = {name: Factors(m.a_RI, 0 * m.b_OR) for name, m in some.items()}
    assert weight_distance(zero, some) == Distance(1.0, 0.0)
    assert weight_distance(some, zero) == Distance(1.0, 0.0)
    assert weight_distance(zero, zero) == Distance(0.0, 0.0)


def test_a_module_that_one_side_lacks_counts_as_zero_there() -> None:
    whole = random_update(np.random.default_rng(4), rank=2)
    part = {"up": whole["up"]}
    padded = part | {"down": Factors(whole["down"].a_RI, 0 * whole["down"].b_OR)}
    assert weight_distance(whole, part).mean == pytest.approx(
        weight_distance(whole, padded).mean, abs=TOLERANCE
    )


def test_factors_that_do_not_fit_are_a_value_error() -> None:
    mine = random_update(np.random.default_rng(5), rank=2)
    with pytest.raises(ValueError, match=r"module up: .* does not fit"):
        weight_distance(mine, mine | {"up": mine["down"]})
    with pytest.raises(ValueError, match="differ in rank"):
        weight_distance(mine, {"up": Factors(mine["up"].a_RI[:1], mine["up"].b_OR)})
    with pytest.raises(ValueError, match="must be finite"):
        weight_distance(mine, {"up": Factors(mine["up"].a_RI * math.nan, mine["up"].b_OR)})


def test_total_variation_by_hand() -> None:
    # |.5 - .25| + |.25 - 0| + |0 - .25| + |.25 - .5| = 1, halved; then two equal rows.
    mine = rows({1: 0.5, 2: 0.25}, {3: 0.5, 9: 0.5})
    theirs = rows({1: 0.25, 7: 0.25}, {3: 0.5, 9: 0.5})
    found = prediction_distance(mine, theirs)
    assert found.mean == pytest.approx((0.5 + 0) / 2, abs=1e-7)
    # Sample deviation of (.5, 0) is .5 / sqrt 2, over sqrt 2 rows.
    assert found.error == pytest.approx(0.25, abs=1e-7)


def test_disjoint_supports_do_not_look_equal_however_fat_their_tails() -> None:
    assert prediction_distance(rows({1: 0.25}), rows({2: 0.25})).mean == pytest.approx(0.25, abs=1e-7)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 8))
def test_the_prediction_distance_is_that_of_dense_vectors(seed: int, count: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    mine, theirs, third = (random_rows(rng, count=count, top=top, vocabulary=12) for _ in range(3))
    by_row = np.abs(dense(mine, 12) - dense(theirs, 12)).sum(axis=1) / 2
    found = prediction_distance(mine, theirs)
    assert found.mean == pytest.approx(by_row.mean(), abs=TOLERANCE)
    assert found.error == pytest.approx(
        by_row.std(ddof=1) / math.sqrt(count) if count > 1 else 0.0, abs=TOLERANCE
    )
    assert found == prediction_distance(theirs, mine)
    around = prediction_distance(mine, third).mean + prediction_distance(third, theirs).mean
    assert found.mean <= around + TOLERANCE
    # Rows in float32 sum to 1 within 1e-6.
    assert 0 <= found.mean <= 1 + 1e-6


VOCABULARY = 50_257


def kept(whole_RV: NDArray[np.float64], top: int) -> Rows:
    """The `top` likeliest tokens of each row, and the rest as its tail."""
    ids_RK = np.sort(np.argsort(-whole_RV, axis=1, kind="stable")[:, :top], axis=1)
    mass_RK = np.take_along_axis(whole_RV, ids_RK, axis=1)
    tails_R = 1 - mass_RK.sum(axis=1)
    return Rows(ids_RK.astype(np.uint32), np.log(mass_RK).astype(np.float32), tails_R.astype(np.float32))


def softmax(logits_RV: NDArray[np.float64]) -> NDArray[np.float64]:
    mass_RV = np.exp(logits_RV - logits_RV.max(axis=1, keepdims=True))
    return mass_RV / mass_RV.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("top", [2, 23])
@pytest.mark.parametrize("sharpness", [0.5, 3.0, 8.0])
def test_against_the_whole_vocabulary_the_prediction_distance_errs_within_its_bounds(
    top: int, sharpness: float
) -> None:
    rng = np.random.default_rng(7)
    base_RV = rng.normal(size=(8, VOCABULARY))
    mine_RV, theirs_RV = (softmax(sharpness * (base_RV + rng.normal(0, 0.3, base_RV.shape))) for _ in "ab")
    mine, theirs = kept(mine_RV, top), kept(theirs_RV, top)
    for row in range(8):
        whole = np.abs(mine_RV[row] - theirs_RV[row]).sum() / 2
        found = prediction_distance(
            *(
                Rows(one.ids_RK[row : row + 1], one.logp_RK[row : row + 1], one.tail_R[row : row + 1])
                for one in (mine, theirs)
            )
        ).mean
        only_mine = np.setdiff1d(mine.ids_RK[row], theirs.ids_RK[row])
        only_theirs = np.setdiff1d(theirs.ids_RK[row], mine.ids_RK[row])
        unseen = max(theirs_RV[row][only_mine].sum(), mine_RV[row][only_theirs].sum())
        # Probabilities are kept in float32.
        assert whole - min(mine.tail_R[row], theirs.tail_R[row]) - 1e-6 <= found <= whole + unseen + 1e-6


def test_with_two_tokens_kept_rows_that_are_far_apart_may_look_equal() -> None:
    """0.64 of each row is a tail, and the tails share no token."""
    both_RV = np.zeros((2, VOCABULARY))
    both_RV[:, :2] = 0.18
    both_RV[0, 2:1002] = both_RV[1, 1002:2002] = 0.00064
    mine, theirs = (kept(one[None], 2) for one in both_RV)
    assert np.abs(both_RV[0] - both_RV[1]).sum() / 2 == pytest.approx(0.64)
    assert prediction_distance(mine, theirs).mean == pytest.approx(0.0, abs=1e-6)


def test_predictions_of_another_shape_are_a_value_error() -> None:
    one, two = rows({1: 0.5}), rows({1: 0.5}, {2: 0.5})
    with pytest.raises(ValueError, match="same shape"):
        prediction_distance(one, two)
    with pytest.raises(ValueError, match="tail must have shape"):
        prediction_distance(one, Rows(one.ids_RK, one.logp_RK, two.tail_R))
    with pytest.raises(ValueError, match="must not be empty"):
        prediction_distance(*(Rows(one.ids_RK[:0], one.logp_RK[:0], one.tail_R[:0]) for _ in range(2)))


def test_paired_losses_by_hand() -> None:
    mine, theirs = np.array([1.0, 2.0, 9.0]), np.array([1.5, 2.0, 8.0])
    found = validation_distance(mine, theirs)
    # Differences .5, 0, -1: mean -1/6, squares about it sum to 7/6.
    assert found.mean == pytest.approx(-1 / 6)
    assert found.error == pytest.approx(math.sqrt(7 / 6 / 2 / 3))


def test_windows_that_are_hard_for_both_models_do_not_raise_the_error() -> None:
    hard = np.array([1.0, 5.0, 30.0, 2.0])
    assert validation_distance(hard, hard + 0.25) == Distance(0.25, 0.0)


def test_a_single_window_has_error_zero() -> None:
    assert validation_distance(np.array([1.0]), np.array([3.0])) == Distance(2.0, 0.0)


@pytest.mark.parametrize("theirs", [[1.0], [], [[1.0, 2.0]], [1.0, math.inf], [1.0, math.nan]])
def test_losses_that_cannot_be_compared_are_a_value_error(theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"same windows|finite"):
        validation_distance(np.array([1.0, 2.0]), np.array(theirs))
