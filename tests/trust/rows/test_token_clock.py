"""What a liar can do to the network's token clock, and what the schedule over it does to the rate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.rows.token_clock import CAP, FINAL_SHARE, TokenClaim, network_tokens, share_at

AMOUNTS = st.integers(1, 10**12)
LIES = st.integers(0, 2**63)


def seated(*amounts: int) -> list[TokenClaim]:
    return [TokenClaim(tokens, f"p{number}", proven=True) for number, tokens in enumerate(amounts)]


def test_the_clock_is_the_sum_of_what_all_trained() -> None:
    """Speeds of 1:2:4:8, seen from the slowest and from the fastest."""
    assert network_tokens(1000, seated(2000, 4000, 8000)) == 15_000
    assert network_tokens(8000, seated(1000, 2000, 4000)) == 15_000
    assert network_tokens(0, []) == 0
    assert network_tokens(500, []) == 500


def test_a_late_joiner_reads_the_present_place() -> None:
    assert network_tokens(0, seated(1000, 1000, 1000)) == 3000


@given(own=AMOUNTS, honest=st.lists(AMOUNTS, max_size=8), lies=st.lists(LIES, max_size=8))
def test_less_than_half_of_liars_move_the_clock_by_a_bounded_number_of_honest_contributions(
    own: int, honest: list[int], lies: list[int]
) -> None:
    """Each adds at most `CAP` times the largest honest contribution, and none takes one away that is at most `CAP`
    times the smallest of all."""
    everybody = [own, *honest]
    lies = lies[: len(everybody) - 1]
    clock = network_tokens(own, seated(*honest, *lies))
    assert clock <= sum(everybody) + len(lies) * CAP * max(everybody)
    least = min([*everybody, *(lie for lie in lies if lie)])
    assert clock >= sum(min(one, CAP * least) for one in everybody) - 1


@given(
    own=AMOUNTS,
    honest=st.lists(AMOUNTS, min_size=1, max_size=6),
    lies=st.lists(LIES, min_size=1, max_size=50),
)
def test_any_number_of_newcomers_behind_one_connection_count_as_one(
    own: int, honest: list[int], lies: list[int]
) -> None:
    many = [TokenClaim(lie, "mallory", proven=False) for lie in lies]
    one = [TokenClaim(max(lies), "mallory", proven=False)]
    assert network_tokens(own, [*seated(*honest), *many]) == network_tokens(own, [*seated(*honest), *one])


def test_newcomers_of_different_connections_count_each() -> None:
    newcomers = [TokenClaim(1000, name, proven=False) for name in ("a", "b", "b", "c")]
    assert network_tokens(1000, newcomers) == 4000


@given(st.integers(0, 2**70), st.integers(0, 2**70), st.integers(1, 2**62))
def test_the_rate_falls_with_the_clock_and_never_below_its_end(one: int, other: int, length: int) -> None:
    early, late = sorted((one, other))
    assert 1 >= share_at(early, length) >= share_at(late, length) >= FINAL_SHARE - 1e-12


def test_the_schedule_is_a_cosine() -> None:
    assert share_at(0, 1000) == 1.0
    assert share_at(500, 1000) == pytest.approx((1 + FINAL_SHARE) / 2)
    assert share_at(1000, 1000) == pytest.approx(FINAL_SHARE)
    assert math.isclose(share_at(10**9, 1000), FINAL_SHARE)
