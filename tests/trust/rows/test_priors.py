"""Shares of the text: how they are counted, what a false claim can gain, and rows weighted by them."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median_high, median_low

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trust.rows.evidence import Distance
from trust.rows.priors import Counts, token_shares, token_weighted
from trust.rows.rows import Neighbour, Row, TrustConfig, candidate_rows, evidence_of

TOLERANCE = 1e-12
"""A dozen roundings of numbers up to 1."""

UNCAPPED = 1e9
AVERAGE = TrustConfig(strategy="uniform", tokens_power=1.0, tokens_cap=1000.0)

claims = st.builds(Counts, st.integers(0, 2**53), st.integers(0, 2**53))
alphas = st.floats(0, 1)
caps = st.floats(1, 1000)


def crowd(config: TrustConfig, *texts: tuple[int, int], age: int = 0) -> list[Neighbour]:
    """Neighbours at growing distances, with these tokens and samples."""
    kinds = len(evidence_of(config))
    return [
        Neighbour(f"peer-{k}", "", (Distance(0.1 * (k + 1), 0.01),) * kinds, (-0.1,) * kinds, age, *text)
        for k, text in enumerate(texts)
    ]


def only(config: TrustConfig, seen: list[Neighbour], me: Counts, alpha: float = 1.0) -> Row:
    (candidate,) = candidate_rows(config, seen, me, alpha=alpha)
    return candidate.row


@given(st.lists(claims, min_size=1, max_size=9), alphas, caps)
def test_shares_are_a_distribution_that_permutes_with_the_peers(
    counts: list[Counts], alpha: float, cap: float
) -> None:
    shares = token_shares(counts, alpha=alpha, cap=cap)
    assert all(share >= 0 for share in shares)
    assert math.fsum(shares) == pytest.approx(1, abs=TOLERANCE)
    assert token_shares(counts[::-1], alpha=alpha, cap=cap) == shares[::-1]


def test_alpha_goes_from_samples_to_tokens() -> None:
    counts = [Counts(100, 3), Counts(300, 1)]
    assert token_shares(counts, alpha=1.0, cap=UNCAPPED) == (0.25, 0.75)
    assert token_shares(counts, alpha=0.0, cap=UNCAPPED) == (0.75, 0.25)
    assert token_shares(counts, alpha=0.5, cap=UNCAPPED) == (0.5, 0.5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_count_that_is_zero_for_all_peers_is_ignored(alpha: float) -> None:
    tokens, samples = [Counts(1, 0), Counts(3, 0)], [Counts(0, 1), Counts(0, 3)]
    assert token_shares(tokens, alpha=alpha, cap=UNCAPPED) == pytest.approx((0.25, 0.75))
    assert token_shares(samples, alpha=alpha, cap=UNCAPPED) == pytest.approx((0.25, 0.75))
    assert token_shares([Counts(), Counts()], alpha=alpha, cap=UNCAPPED) == (0.5, 0.5)


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=8), st.sampled_from([0.0, 1.0]))
def test_a_peer_that_leaves_does_not_change_the_ratios_of_the_others(
    amounts: list[int], alpha: float
) -> None:
    counts = [Counts(amount, amount % 1000 + 1) for amount in amounts]
    *all_but_one, _ = token_shares(counts, alpha=alpha, cap=UNCAPPED)
    left = token_shares(counts[:-1], alpha=alpha, cap=UNCAPPED)
    rest = math.fsum(all_but_one)
    assert left == pytest.approx([share / rest for share in all_but_one], rel=1e-9)


@given(
    st.lists(st.builds(Counts, st.integers(1, 10**9), st.integers(1, 10**6)), min_size=1, max_size=8),
    alphas,
    st.floats(1, 10),
)
def test_a_claim_buys_at_most_the_cap_times_the_honest_median(
    honest: list[Counts], alpha: float, cap: float
) -> None:
    *shares, liar = token_shares([*honest, Counts(2**53, 2**53)], alpha=alpha, cap=cap)
    assert liar <= cap * median_high(shares) * (1 + TOLERANCE)
    assert liar <= cap * median_low([*shares, liar]) * (1 + TOLERANCE)


def test_of_two_peers_neither_sets_the_bound_for_itself() -> None:
    assert token_shares([Counts(100), Counts(2**53)], alpha=1.0, cap=2.0) == pytest.approx((1 / 3, 2 / 3))


def test_peers_without_text_do_not_lower_the_bound_to_zero() -> None:
    counts = [Counts(10), Counts(0), Counts(0), Counts(0), Counts(2**53)]
    assert token_shares(counts, alpha=1.0, cap=2.0) == pytest.approx((1 / 3, 0, 0, 0, 2 / 3))


@pytest.mark.parametrize(
    ("counts", "alpha", "cap", "says"),
    [
        ([], 1.0, 2.0, "counts must be of at least one"),
        ([Counts(-1)], 1.0, 2.0, "counts must be at least 0, got -1"),
        ([Counts(0, -2)], 1.0, 2.0, "counts must be at least 0, got -2"),
        ([Counts(1)], 1.5, 2.0, "alpha must be"),
        ([Counts(1)], math.nan, 2.0, "alpha must be"),
        ([Counts(1)], 1.0, 0.5, "cap must be"),
        ([Counts(1)], 1.0, math.nan, "cap must be"),
    ],
)
def test_a_wrong_argument_is_named(counts: list[Counts], alpha: float, cap: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        token_shares(counts, alpha=alpha, cap=cap)


def test_uniform_rows_at_power_one_are_token_weighted_averaging() -> None:
    seen = crowd(AVERAGE, (200, 1), (500, 5))
    assert only(AVERAGE, seen, Counts(100, 4)) == pytest.approx((1 / 8, 2 / 8, 5 / 8))
    assert only(AVERAGE, seen, Counts(100, 4), alpha=0.0) == pytest.approx((4 / 10, 1 / 10, 5 / 10))


@pytest.mark.parametrize("strategy", ["predictions", "weights", "validation", "product", "fomo", "uniform"])
def test_trust_and_text_multiply(strategy: str) -> None:
    plain = TrustConfig(strategy=strategy, temperatures=(1.0,), tokens_cap=1000.0)
    seen = crowd(plain, (400, 1), (300, 1), (200, 1))
    me = Counts(100, 1)
    weighted = [
        weight * tokens**2 for weight, tokens in zip(only(plain, seen, me), (100, 400, 300, 200), strict=True)
    ]
    row = only(replace(plain, tokens_power=2.0), seen, me)
    assert row == pytest.approx([weight / sum(weighted) for weight in weighted], abs=TOLERANCE)


@pytest.mark.parametrize("strategy", ["predictions", "validation", "product", "fomo", "uniform"])
@settings(max_examples=30)
@given(st.lists(claims, min_size=1, max_size=5), claims, alphas, st.floats(0, 8))
def test_rows_stay_distributions_that_permute_with_the_neighbours(
    strategy: str, texts: list[Counts], me: Counts, alpha: float, power: float
) -> None:
    config = TrustConfig(strategy=strategy, tokens_power=power)
    seen = crowd(config, *texts, age=1)
    there = candidate_rows(config, seen, me, alpha=alpha)
    back = candidate_rows(config, seen[::-1], me, alpha=alpha)
    for one, other in zip(there, back, strict=True):
        assert math.fsum(one.row) == pytest.approx(1, abs=TOLERANCE)
        assert all(0 <= weight <= 1 + TOLERANCE for weight in one.row)
        assert other.row == (one.row[0], *one.row[:0:-1])


@pytest.mark.parametrize("strategy", ["predictions", "weights", "validation", "product", "fomo", "uniform"])
def test_at_power_zero_text_changes_no_bit(strategy: str) -> None:
    config = TrustConfig(strategy=strategy)
    seen = crowd(config, (7, 1), (10**6, 50), (0, 0))
    silent = [replace(one, tokens=0, samples=0) for one in seen]
    assert candidate_rows(config, seen, Counts(3, 3), alpha=0.5) == candidate_rows(config, silent)


@pytest.mark.parametrize("strategy", ["fixed", "local"])
def test_fixed_and_local_rows_ignore_amounts_of_text(strategy: str) -> None:
    config = TrustConfig(strategy=strategy, fixed=("peer-0=0.25",))
    seen = crowd(config, (7, 1), (10**6, 50))
    assert candidate_rows(replace(config, tokens_power=2.0), seen, Counts(3, 3)) == candidate_rows(
        config, seen
    )


def test_weight_that_age_takes_from_a_peer_with_much_text_goes_to_the_peer_itself() -> None:
    config = replace(AVERAGE, max_age=1)
    fresh, old = crowd(config, (300, 1))[0], crowd(config, (400, 1), age=2)[0]
    assert only(config, [fresh, old], Counts(100, 1)) == pytest.approx((5 / 8, 3 / 8, 0))


def test_a_peer_that_trusts_only_peers_without_text_keeps_everything() -> None:
    counts = [Counts(5), Counts(0), Counts(5)]
    assert token_weighted((0.0, 1.0, 0.0), counts, AVERAGE) == (1.0, 0.0, 0.0)


def test_a_learned_row_is_weighted_by_text_too() -> None:
    counts = [Counts(10), Counts(30)]
    assert token_weighted((0.5, 0.5), counts, AVERAGE) == (0.25, 0.75)
    assert token_weighted([0.4, 0.6], counts, TrustConfig()) == (0.4, 0.6)
    with pytest.raises(ValueError, match="counts must be one for each weight"):
        token_weighted((1.0,), counts, AVERAGE)


def test_a_high_power_of_unlike_amounts_leaves_a_row() -> None:
    config = replace(AVERAGE, tokens_power=8.0)
    row = token_weighted((1 / 3,) * 3, [Counts(1), Counts(2**53), Counts(2**53)], config)
    assert row == pytest.approx((0.0, 0.5, 0.5))
