"""Laws of rows, over all strategies, and the few that belong to one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.evidence import Distance
from trust.priors import age_priors
from trust.rows import Candidate, Strategy, TrustConfig, candidate_rows, chosen, shrunk

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
SOFT: tuple[Strategy, ...] = ("predictions", "weights", "validation")
SUM_TOLERANCE = 1e-12
"""At most a hundred additions of numbers up to 1, each off by 2^-53."""

distances = st.builds(Distance, st.floats(0, 10), st.floats(0, 1))
neighbours = st.lists(st.tuples(distances, st.integers(0, 6)), max_size=12)


def exact(*means: float, error: float = 0.0) -> tuple[Distance, ...]:
    return tuple(Distance(mean, error) for mean in means)


def fresh(config: TrustConfig, seen: tuple[Distance, ...]) -> tuple[Candidate, ...]:
    return candidate_rows(config, seen, [0] * len(seen))


def at(temperature: float, strategy: Strategy = "predictions") -> TrustConfig:
    return TrustConfig(strategy=strategy, temperatures=(temperature,))


@given(st.sampled_from(STRATEGIES), neighbours)
def test_every_row_is_a_distribution(strategy: Strategy, seen: list[tuple[Distance, int]]) -> None:
    candidates = candidate_rows(
        TrustConfig(strategy=strategy), [d for d, _ in seen], [age for _, age in seen]
    )
    assert candidates
    for candidate in candidates:
        for row in (candidate.row, shrunk(candidate.row)):
            assert len(row) == len(seen) + 1
            assert all(0 <= weight <= 1 + SUM_TOLERANCE for weight in row)
            assert math.fsum(row) == pytest.approx(1, abs=SUM_TOLERANCE)


@given(st.sampled_from(STRATEGIES), neighbours, st.randoms(use_true_random=False))
def test_permuting_the_neighbours_permutes_the_rows(strategy, seen, random) -> None:
    config = TrustConfig(strategy=strategy)
    order = list(range(len(seen)))
    random.shuffle(order)
    before = candidate_rows(config, [d for d, _ in seen], [age for _, age in seen])
    after = candidate_rows(config, [seen[k][0] for k in order], [seen[k][1] for k in order])
    assert [c.temperature for c in before] == [c.temperature for c in after]
    for one, other in zip(before, after, strict=True):
        assert other.row == (one.row[0], *(one.row[k + 1] for k in order))


@given(st.sampled_from(SOFT), st.lists(distances, min_size=1, max_size=8), st.integers(-60, 60))
def test_the_unit_of_the_distances_does_not_matter(
    strategy: Strategy, seen: list[Distance], power: int
) -> None:
    # A power of two, for rounding must not decide whether two candidates are one; and no denormal numbers.
    seen = [d for d in seen if d.mean == 0 or d.mean > 1e-100] or [Distance(1.0, 0.0)]
    scaled = [Distance(math.ldexp(d.mean, power), math.ldexp(d.error, power)) for d in seen]
    config, ages = TrustConfig(strategy=strategy), [0] * len(seen)
    for one, other in zip(
        candidate_rows(config, seen, ages), candidate_rows(config, scaled, ages), strict=True
    ):
        assert one.row == pytest.approx(other.row, abs=1e-12)


@pytest.mark.parametrize("strategy", ["predictions", "weights"])
@pytest.mark.parametrize("mean", [0.0, 0.3, 7.0])
def test_neighbours_at_one_distance_share_equally_with_the_peer(strategy: Strategy, mean: float) -> None:
    (candidate,) = fresh(TrustConfig(strategy=strategy), exact(mean, mean, mean))
    assert candidate.row == pytest.approx((0.25,) * 4)
    assert candidate.temperature == 4.0


def test_with_one_neighbour_every_temperature_gives_a_half() -> None:
    assert fresh(TrustConfig(), exact(0.4)) == (Candidate(4.0, (0.5, 0.5)),)


def test_a_low_temperature_leaves_the_peer_and_its_nearest_neighbour() -> None:
    (candidate,) = fresh(at(0.001), exact(0.4, 0.1, 0.2))
    assert candidate.row == pytest.approx((0.5, 0.0, 0.5, 0.0), abs=1e-9)


def test_a_high_temperature_is_plain_averaging() -> None:
    (candidate,) = fresh(at(1000), exact(0.4, 0.1, 0.2))
    assert candidate.row == pytest.approx((0.25,) * 4, abs=1e-3)


def test_a_row_by_hand() -> None:
    # The median is 2, so z = -1/2, -1/2, -1, -3/2 with the peer at its nearest neighbour's 1.
    (candidate,) = fresh(at(1.0), exact(1.0, 2.0, 3.0))
    weights = [math.exp(-z) for z in (0.5, 0.5, 1.0, 1.5)]
    assert candidate.row == pytest.approx([weight / sum(weights) for weight in weights])


def test_a_nearer_neighbour_never_gets_less() -> None:
    for candidate in fresh(TrustConfig(), exact(0.1, 0.2, 0.2, 0.5)):
        _, a, b, c, d = candidate.row
        assert a >= b == c >= d


def test_twins_do_not_take_the_scale_away() -> None:
    (candidate,) = fresh(at(1.0), exact(0.0, 0.0, 0.0, 5.0))
    # The median of what is above 0 is 5: weights 1, 1, 1, 1, 1/e.
    assert candidate.row == pytest.approx([w / (4 + 1 / math.e) for w in (1, 1, 1, 1, 1 / math.e)])


def test_a_better_neighbour_gets_more_than_the_peer_keeps() -> None:
    (candidate,) = fresh(at(1.0, "validation"), exact(-0.5, 0.5, 0.5, error=0.01))
    own, better, worse, same = candidate.row
    assert better > own > worse == same


def test_harmful_neighbours_leave_the_peer_alone() -> None:
    (candidate,) = fresh(at(0.0625, "validation"), exact(0.5, 0.5, 0.6, error=0.01))
    assert candidate.row[0] == pytest.approx(1, abs=1e-6)


def test_losses_within_their_noise_count_alike() -> None:
    (candidate,) = fresh(at(1.0, "validation"), exact(1e-4, -1e-4, 2e-4, error=0.1))
    assert candidate.row == pytest.approx((0.25,) * 4, abs=1e-3)


def test_only_the_peer_differs_and_there_is_no_noise() -> None:
    (candidate,) = fresh(at(1.0, "validation"), exact(-0.5))
    assert candidate.row == pytest.approx((1 / (1 + math.e), math.e / (1 + math.e)))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_neighbours_a_peer_keeps_everything(strategy: Strategy) -> None:
    assert fresh(TrustConfig(strategy=strategy), ()) == (Candidate(None, (1.0,)),)


def test_uniform_and_local_have_one_row_each() -> None:
    seen = exact(0.1, 0.9, 0.5)
    assert fresh(TrustConfig(strategy="uniform"), seen) == (Candidate(None, (0.25,) * 4),)
    assert fresh(TrustConfig(strategy="local"), seen) == (Candidate(None, (1.0, 0.0, 0.0, 0.0)),)


def test_the_prior_falls_with_age_and_ends() -> None:
    assert age_priors([0, 3, 4, 5], decay=0.5, max_age=4) == pytest.approx((1.0, 0.5, 5**-0.5, 0.0))


@given(st.sampled_from(SOFT), st.lists(distances, min_size=1, max_size=8), st.data())
def test_age_moves_weight_to_the_peer_and_to_nobody_else(
    strategy: Strategy, seen: list[Distance], data
) -> None:
    config = TrustConfig(strategy=strategy, temperatures=(1.0,))
    old = data.draw(st.integers(0, len(seen) - 1))
    ages = [0] * len(seen)
    (before,) = candidate_rows(config, seen, ages)
    ages[old] = data.draw(st.integers(1, 9))
    (after,) = candidate_rows(config, seen, ages)
    factor = (1 + ages[old]) ** -0.5 if ages[old] <= config.max_age else 0.0
    assert after.row[old + 1] == pytest.approx(before.row[old + 1] * factor, abs=SUM_TOLERANCE)
    assert after.row[0] >= before.row[0]
    others = [k + 1 for k in range(len(seen)) if k != old]
    assert [after.row[k] for k in others] == [before.row[k] for k in others]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_peer_that_heard_of_nobody_for_long_keeps_exactly_everything(strategy: Strategy) -> None:
    (candidate,) = candidate_rows(TrustConfig(strategy=strategy), exact(0.1, 0.2, 0.7), [9, 9, 9])
    assert candidate.row == (1.0, 0.0, 0.0, 0.0)


def test_plain_averaging_forgets_only_the_too_old() -> None:
    (candidate,) = candidate_rows(TrustConfig(strategy="uniform"), exact(0.1, 0.1, 0.1), [0, 4, 5])
    assert candidate.row == pytest.approx((0.5, 0.25, 0.25, 0.0))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_distance_that_is_no_number_is_the_callers_mistake(strategy: Strategy, bad: float) -> None:
    with pytest.raises(ValueError, match="distance must be finite"):
        fresh(TrustConfig(strategy=strategy), exact(0.1, bad))
    with pytest.raises(ValueError, match="error must be"):
        fresh(TrustConfig(strategy=strategy), exact(0.1, error=bad))


def test_only_losses_may_have_distances_below_zero() -> None:
    for strategy in ("predictions", "weights"):
        with pytest.raises(ValueError, match="at least 0"):
            fresh(TrustConfig(strategy=strategy), exact(-0.1))
    assert fresh(TrustConfig(strategy="validation"), exact(-0.1))


def test_ages_belong_to_distances() -> None:
    with pytest.raises(ValueError, match="one age for each distance"):
        candidate_rows(TrustConfig(), exact(0.1), [])
    with pytest.raises(ValueError, match="age must be"):
        candidate_rows(TrustConfig(), exact(0.1), [-1])


def test_the_least_loss_is_chosen_and_a_tie_goes_to_the_more_selfish() -> None:
    candidates = [Candidate(2.0, (0.2, 0.8)), Candidate(1.0, (0.6, 0.4)), Candidate(0.5, (0.7, 0.3))]
    assert chosen(candidates, [3.0, 2.0, 2.5]) == 1
    assert chosen(candidates, [2.0, 2.0, 2.5]) == 1
    assert chosen(candidates, [math.nan, math.inf, 9.0]) == 2


def test_where_no_merge_has_a_loss_none_is_chosen() -> None:
    assert chosen([Candidate(1.0, (0.5, 0.5))], [math.nan]) is None
    assert chosen([], []) is None
    with pytest.raises(ValueError, match="one loss for each"):
        chosen([], [1.0])


def test_shrinking_goes_half_of_the_way_home() -> None:
    assert shrunk((0.5, 0.25, 0.25)) == (0.75, 0.125, 0.125)
    assert shrunk((1.0,)) == (1.0,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "fedavg"},
        {"temperatures": ()},
        {"temperatures": (1.0,) * 17},
        {"temperatures": (1.0, 2.0)},
        {"temperatures": (1.0, 1.0)},
        {"temperatures": (0.0,)},
        {"temperatures": (math.nan,)},
        {"age_decay": -0.1},
        {"age_decay": math.nan},
        {"max_age": -1},
        {"max_age": 1001},
    ],
)
def test_a_configuration_out_of_range_names_its_field(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(TrustConfig(), **wrong)
