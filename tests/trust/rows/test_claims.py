"""Claims that nobody can check: how little a false one buys, and that honest ones count as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.rows.priors import OWN_TIMES, Counts, believed, token_shares
from trust.rows.units.importance import combined
from trust.rows.units.ownership import CAPACITY_TIMES, kept, owned, owners

UNITS = [f"head {n}" for n in range(24)]
HONEST: dict[str, float] = dict.fromkeys(("ann", "ben", "cy", "dan"), 100.0)


def trained(me: str, peers: dict[str, float], trusted: set[str], *, epoch: int = 0) -> frozenset[int]:
    return kept(me, peers, UNITS, epoch=epoch, copies=1, trusted=trusted)


def test_an_honest_network_divides_the_units_as_before() -> None:
    for me in HONEST:
        assert trained(me, HONEST, set(HONEST)) == owned(me, HONEST, UNITS, epoch=0, copies=1)


@pytest.mark.parametrize("epoch", range(5))
def test_no_claim_of_capacity_takes_a_unit_from_the_trusted_peers(epoch: int) -> None:
    liars = {f"liar {n}": 1e12 for n in range(30)}
    everybody = {**HONEST, **liars}
    by_all = owners(everybody, UNITS, epoch=epoch, copies=1)
    assert not {who for unit in by_all for who in unit} & HONEST.keys(), "before, they had everything"
    done = [trained(me, everybody, set(HONEST), epoch=epoch) for me in HONEST]
    assert frozenset().union(*done) == frozenset(range(len(UNITS)))
    assert sum(map(len, done)) <= len(UNITS) + len(HONEST), "and hardly a unit is trained twice"


def test_a_liar_gets_no_more_units_than_the_bound_on_its_capacity_is_worth() -> None:
    lied = [trained("liar", {**HONEST, "liar": 1e12}, set(HONEST), epoch=epoch) for epoch in range(40)]
    share = sum(map(len, lied)) / (40 * len(UNITS))
    assert share == pytest.approx(CAPACITY_TIMES / (CAPACITY_TIMES + len(HONEST)), abs=0.05)


def test_a_peer_that_trusts_nobody_yet_divides_by_capacities_that_its_own_bounds() -> None:
    assert trained("ann", HONEST, set()) == owned("ann", HONEST, UNITS, epoch=0, copies=1)
    mine = [trained("ann", {"ann": 100.0, "liar": 1e12}, set(), epoch=epoch) for epoch in range(40)]
    assert sum(map(len, mine)) / (40 * len(UNITS)) == pytest.approx(1 / (1 + CAPACITY_TIMES), abs=0.05)


def test_a_majority_of_false_counts_leaves_this_peer_its_share() -> None:
    own = Counts(1000, 10)
    claims = [believed(Counts(2**53, 2**53), own) for _ in range(9)]
    shares = token_shares([own, *claims], alpha=0.5, cap=2.0)
    assert shares[0] >= 1 / (1 + OWN_TIMES * 9)
    assert token_shares([own, *[Counts(2**53, 2**53)] * 9], alpha=0.5, cap=2.0)[0] < 1e-9


@given(st.integers(0, 2**53), st.integers(0, 2**53), st.integers(1, 10**6))
def test_a_claim_counts_as_it_is_up_to_the_bound(tokens: int, samples: int, ours: int) -> None:
    counted = believed(Counts(tokens, samples), Counts(ours, ours))
    assert counted == Counts(min(tokens, OWN_TIMES * ours), min(samples, OWN_TIMES * ours))
    assert believed(Counts(tokens, samples), Counts(0, 0)) == Counts(tokens, samples)


def test_one_liar_does_not_steer_the_importance_of_layers() -> None:
    honest = [(4.0, 3.0, 2.0, 1.0)] * 3
    liar = (0.0, 0.0, 0.0, 1e30)
    together = combined(honest[0], [*honest[1:], liar], (0.3, 0.2, 0.1, 0.4), robust=True)
    assert together == combined(honest[0], honest[1:], (0.5, 0.3, 0.2))
    mean = combined(honest[0], [*honest[1:], liar], (0.3, 0.2, 0.1, 0.4))
    assert mean[3] == max(value for value in mean if value is not None), "before, it chose the layer"


@given(
    st.lists(st.lists(st.floats(0.01, 1e6), min_size=3, max_size=3), min_size=3, max_size=3),
    st.lists(st.floats(0, 1e30), min_size=3, max_size=3),
)
def test_a_minority_moves_no_layer_out_of_the_range_of_the_others(
    honest: list[list[float]], lie: list[float]
) -> None:
    alone = [combined(one, [], (1.0,)) for one in honest]
    together = combined(honest[0], [*honest[1:], lie], (0.25, 0.2, 0.15, 0.4), robust=True)
    for layer, value in enumerate(together):
        values = [one[layer] for one in alone]
        known = [each for each in values if each is not None]
        assert value is not None
        assert min(known) <= value <= max(known)
