"""What users gain over the best that they can do alone: who is chosen, who is harmed, and how sure that is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.comparison.targets import reached
from sim.comparison.users import (
    User,
    averaged_states,
    best_of,
    best_states,
    gain,
    gap_closed,
    is_harmed,
    mean_trust_loss,
)
from sim.experiments.measuring.metrics import PeerMetrics, RoundPoint, RunMetrics, StateMetrics


def state(test: float, *, trust: float = 1.0, noise: float = 0.0, windows: int = 16) -> StateMetrics:
    """A state of this perplexity whose windows differ by `noise` nats in turn."""
    losses = math.log(test) + noise * np.tile((1.0, -1.0), windows // 2)
    return StateMetrics(
        round=0, merged=False, trust=trust, test=test, windows=tuple(map(float, losses.tolist()))
    )


def users(*perplexities: float, seeds: int = 1) -> dict[User, StateMetrics]:
    return {(seed, place): state(test) for seed in range(seeds) for place, test in enumerate(perplexities)}


def test_the_best_local_is_chosen_by_the_trust_split_even_where_the_test_split_disagrees() -> None:
    lucky, trusted = state(10, trust=2.0), state(20, trust=1.0)
    assert best_of([{(0, 0): lucky}, {(0, 0): trusted}]) == {(0, 0): trusted}


def test_users_that_a_candidate_lacks_have_no_best_local() -> None:
    assert set(best_of([users(10, 20), users(10)])) == {(0, 0)}


def test_a_gain_is_the_change_of_the_mean_perplexity() -> None:
    found = gain(users(9, 18, seeds=3), users(10, 20, seeds=3))
    assert found is not None
    assert found.change.value == pytest.approx(-0.1)
    assert found.change.low == pytest.approx(-0.1)
    assert found.change.high == pytest.approx(-0.1)
    assert (found.harmed, found.users) == (0, 6)


def test_the_interval_is_wide_where_users_disagree_and_repeats() -> None:
    ours, theirs = users(5, 20, 10), users(10, 10, 10)
    found = gain(ours, theirs)
    assert found is not None
    assert found.change.low < found.change.value < found.change.high
    assert found.change.high - found.change.low > 0.3
    assert gain(ours, theirs) == found


def test_the_worst_tenth_of_twenty_users_is_the_mean_of_two() -> None:
    found = gain(users(*(10.0,) * 18, 11, 12), users(*(10.0,) * 20))
    assert found is not None
    assert found.worst == pytest.approx(0.15)


def test_harm_counts_beyond_one_per_cent_and_beyond_the_error() -> None:
    alone = state(100)
    assert is_harmed(state(103), alone)
    assert not is_harmed(state(100.9), alone)
    assert not is_harmed(state(103, noise=0.2), alone)
    found = gain({(0, 0): state(103), (0, 1): state(90)}, {(0, 0): alone, (0, 1): alone})
    assert found is not None
    assert found.harmed == 1


def test_pooled_training_closes_the_whole_gap_and_the_best_local_none_of_it() -> None:
    local, pooled = users(10, 20), users(8, 16)
    for ours, share in ((local, 0.0), (pooled, 1.0), (users(9, 18), 0.5)):
        closed = gap_closed(ours, local, pooled)
        assert closed is not None
        assert closed.value == pytest.approx(share)
    assert gap_closed(local, pooled, local) is None


def point(number: int, *, trust: float, test: float) -> RoundPoint:
    return RoundPoint(
        round=number,
        trust_alone=trust,
        trust_merged=trust,
        before=test,
        after=test,
        tokens=100 * (number + 1),
        sent=10 * (number + 1),
        seconds=float(number + 1),
    )


def peer(*points: tuple[float, float], averages: dict[str, StateMetrics] | None = None) -> PeerMetrics:
    return PeerMetrics(
        name="peer",
        category="fr",
        device="",
        targets=100,
        rounds=len(points),
        base=None,
        before=None,
        after=None,
        row=(1.0,),
        divergence=0.0,
        correlation=None,
        same=1.0,
        effective=1.0,
        guard="",
        sent={},
        received={},
        best=state(min(test for _, test in points), trust=min(trust for trust, _ in points)),
        averages=averages or {},
        course=tuple(point(n, trust=trust, test=test) for n, (trust, test) in enumerate(points)),
    )


def run(*peers: PeerMetrics, seed: int = 0) -> RunMetrics:
    return RunMetrics(
        method="local",
        seed=seed,
        finished=True,
        virtual_s=1.0,
        trace="",
        oracle=((1.0,),),
        peers=peers,
        curve=(),
        forward={},
        backward={},
    )


def test_states_are_found_by_seed_and_place_in_runs() -> None:
    runs = [run(peer((1.0, 10.0)), seed=3), run(peer((0.5, 8.0), averages={"ema": state(7)}), seed=5)]
    assert set(best_states(runs)) == {(3, 0), (5, 0)}
    assert mean_trust_loss(best_states(runs)) == 0.75
    assert averaged_states(runs, "ema") == {(5, 0): state(7)}


def test_a_target_is_reached_by_the_mean_over_peers_of_their_best_states_so_far() -> None:
    # The first peer's third state looks good on the test split, but its trust loss does not choose it.
    whole = run(peer((3.0, 30.0), (2.0, 20.0), (2.5, 5.0)), peer((3.0, 30.0), (2.0, 28.0), (1.0, 12.0)))
    came = reached(whole, 16.0)
    assert came is not None
    assert (came.rounds, came.tokens, came.sent, came.seconds) == (3, 300, 30, 3.0)
    assert reached(whole, 15.0) is None
