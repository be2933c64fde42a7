"""Laws of rows over all strategies and forms, and laws of our softmax rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trust.rows.evidence import Distance
from trust.rows.evidence_kinds import EVIDENCE, Factor
from trust.rows.priors import age_priors
from trust.rows.rows import (
    Candidate,
    Neighbour,
    TrustConfig,
    candidate_rows,
    evidence_of,
    shrunk,
)
from trust.rows.strategies import Form

SUM_TOLERANCE = 1e-12
"""At most a hundred additions of numbers up to 1, each off by 2^-53."""

OURS = [TrustConfig(strategy=strategy) for strategy in ("predictions", "weights", "validation")]
FACTORS: tuple[tuple[Factor, ...], ...] = (
    ("predictions", "weights"),
    ("validation", "weights"),
    get_args(Factor),
)
PRODUCTS = [TrustConfig(strategy="product", product_of=factors) for factors in FACTORS]
PUBLISHED = [
    TrustConfig(strategy=strategy, form=form)
    for strategy in get_args(Factor)
    for form in get_args(Form)
    if form != "ours"
]
PLAIN = [
    TrustConfig(strategy="fomo"),
    TrustConfig(strategy="fixed", fixed=("peer-1=0.25", "peer-3=0.125", "elsewhere=0.5")),
    TrustConfig(strategy="uniform"),
    TrustConfig(strategy="local"),
]
SOFT = [*OURS, *PRODUCTS]
ALL = [*SOFT, *PUBLISHED, *PLAIN]


few = settings(max_examples=30)
"""Settings for laws that run for each of many configurations."""


def named(config: TrustConfig) -> str:
    kinds = "*".join(config.product_of) if config.strategy == "product" else ""
    return " ".join(filter(None, (config.strategy, config.form, kinds)))


def every(configs: list[TrustConfig]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("config", configs, ids=named)


def crowd(
    config: TrustConfig, *means: float, error: float = 0.0, ages: tuple[int, ...] | None = None
) -> tuple[Neighbour, ...]:
    """Neighbours at these distances by every kind of evidence that the configuration needs."""
    kinds = len(evidence_of(config))
    return tuple(
        Neighbour(
            f"peer-{k}", f"name-{k}", (Distance(mean, error),) * kinds, (0.0,) * kinds, ages[k] if ages else 0
        )
        for k, mean in enumerate(means)
    )


def rows(config: TrustConfig, *means: float, error: float = 0.0) -> tuple[Candidate, ...]:
    return candidate_rows(config, crowd(config, *means, error=error))


def at(temperature: float, strategy: str = "predictions") -> TrustConfig:
    return TrustConfig(strategy=strategy, temperatures=(temperature,))


@st.composite
def neighbours(draw: st.DrawFn, config: TrustConfig, least: int = 0) -> list[Neighbour]:
    """Any neighbours, with distances below 0 where the evidence allows them, and no denormal distances."""
    kinds = evidence_of(config)
    seen: list[Neighbour] = []
    for k in range(draw(st.integers(least, 5))):
        means = [
            draw(
                st.floats(-10 if EVIDENCE[kind].compares_losses else 0, 10).filter(
                    lambda d: d == 0 or abs(d) > 1e-100
                )
            )
            for kind in kinds
        ]
        distances = tuple(Distance(mean, draw(st.floats(0.001, 1))) for mean in means)
        own = tuple(draw(st.floats(-10, 10)) for _ in kinds)
        seen.append(Neighbour(f"peer-{k}", f"name-{k % 3}", distances, own, draw(st.integers(0, 6))))
    return seen


@every(ALL)
@few
@given(st.data())
def test_every_row_is_a_distribution(config: TrustConfig, data: st.DataObject) -> None:
    seen = data.draw(neighbours(config))
    candidates = candidate_rows(config, seen)
    assert candidates
    for candidate in candidates:
        for row in (candidate.row, shrunk(candidate.row)):
            assert len(row) == len(seen) + 1
            assert all(0 <= weight <= 1 + SUM_TOLERANCE for weight in row)
            assert math.fsum(row) == pytest.approx(1, abs=SUM_TOLERANCE)


@every(ALL)
@few
@given(st.data())
def test_permuting_the_neighbours_permutes_the_rows(config: TrustConfig, data: st.DataObject) -> None:
    seen = data.draw(neighbours(config))
    order = data.draw(st.permutations(range(len(seen))))
    before = candidate_rows(config, seen)
    after = candidate_rows(config, [seen[k] for k in order])
    assert [c.temperature for c in before] == [c.temperature for c in after]
    for one, other in zip(before, after, strict=True):
        assert other.row == (one.row[0], *(one.row[k + 1] for k in order))


@every(SOFT)
@few
@given(st.data(), st.integers(-60, 60))
def test_the_unit_of_the_distances_does_not_matter(
    config: TrustConfig, data: st.DataObject, power: int
) -> None:
    # A power of two, for rounding must not decide whether two candidates are one.
    seen = data.draw(neighbours(config, least=1))
    scaled = [
        replace(
            one,
            distances=tuple(
                Distance(math.ldexp(d.mean, power), math.ldexp(d.error, power)) for d in one.distances
            ),
        )
        for one in seen
    ]
    for one, other in zip(candidate_rows(config, seen), candidate_rows(config, scaled), strict=True):
        assert one.row == pytest.approx(other.row, abs=1e-12)


@pytest.mark.parametrize("strategy", ["predictions", "weights"])
@pytest.mark.parametrize("mean", [0.0, 0.3, 7.0])
def test_neighbours_at_one_distance_share_equally_with_the_peer(strategy: str, mean: float) -> None:
    (candidate,) = rows(TrustConfig(strategy=strategy), mean, mean, mean)
    assert candidate.row == pytest.approx((0.25,) * 4)
    assert candidate.temperature == 4.0


def test_with_one_neighbour_every_temperature_gives_a_half() -> None:
    assert rows(TrustConfig(), 0.4) == (Candidate(4.0, (0.5, 0.5)),)


def test_a_low_temperature_leaves_the_peer_and_its_nearest_neighbour() -> None:
    (candidate,) = rows(at(0.001), 0.4, 0.1, 0.2)
    assert candidate.row == pytest.approx((0.5, 0.0, 0.5, 0.0), abs=1e-9)


def test_a_high_temperature_is_plain_averaging() -> None:
    (candidate,) = rows(at(1000), 0.4, 0.1, 0.2)
    assert candidate.row == pytest.approx((0.25,) * 4, abs=1e-3)


def test_a_row_by_hand() -> None:
    # The median is 2, so z = -1/2, -1/2, -1, -3/2 with the peer at its nearest neighbour's 1.
    (candidate,) = rows(at(1.0), 1.0, 2.0, 3.0)
    weights = [math.exp(-z) for z in (0.5, 0.5, 1.0, 1.5)]
    assert candidate.row == pytest.approx([weight / sum(weights) for weight in weights])


def test_a_nearer_neighbour_never_gets_less() -> None:
    for candidate in rows(TrustConfig(), 0.1, 0.2, 0.2, 0.5):
        _, a, b, c, d = candidate.row
        assert a >= b == c >= d


def test_neighbours_at_distance_zero_do_not_set_the_scale_to_zero() -> None:
    (candidate,) = rows(at(1.0), 0.0, 0.0, 0.0, 5.0)
    # The median of what is above 0 is 5: weights 1, 1, 1, 1, 1/e.
    assert candidate.row == pytest.approx([w / (4 + 1 / math.e) for w in (1, 1, 1, 1, 1 / math.e)])


def test_a_better_neighbour_gets_more_than_the_peer_keeps() -> None:
    (candidate,) = rows(at(1.0, "validation"), -0.5, 0.5, 0.5, error=0.01)
    own, better, worse, same = candidate.row
    assert better > own > worse == same


def test_harmful_neighbours_leave_the_peer_alone() -> None:
    (candidate,) = rows(at(0.0625, "validation"), 0.5, 0.5, 0.6, error=0.01)
    assert candidate.row[0] == pytest.approx(1, abs=1e-6)


def test_losses_within_their_noise_count_alike() -> None:
    (candidate,) = rows(at(1.0, "validation"), 1e-4, -1e-4, 2e-4, error=0.1)
    assert candidate.row == pytest.approx((0.25,) * 4, abs=1e-3)


def test_only_the_peer_differs_and_there_is_no_noise() -> None:
    (candidate,) = rows(at(1.0, "validation"), -0.5)
    assert candidate.row == pytest.approx((1 / (1 + math.e), math.e / (1 + math.e)))


@every(ALL)
def test_without_neighbours_a_peer_keeps_everything(config: TrustConfig) -> None:
    assert rows(config) == (Candidate(None, (1.0,)),)


def test_uniform_and_local_have_one_row_each() -> None:
    assert rows(TrustConfig(strategy="uniform"), 0.1, 0.9, 0.5) == (Candidate(None, (0.25,) * 4),)
    assert rows(TrustConfig(strategy="local"), 0.1, 0.9, 0.5) == (Candidate(None, (1.0, 0.0, 0.0, 0.0)),)


def test_the_prior_falls_with_age_and_ends() -> None:
    assert age_priors([0, 3, 4, 5], decay=0.5, max_age=4) == pytest.approx((1.0, 0.5, 5**-0.5, 0.0))


@every(SOFT)
@few
@given(st.data())
def test_age_moves_weight_to_the_peer_and_to_nobody_else(config: TrustConfig, data: st.DataObject) -> None:
    config = replace(config, temperatures=(1.0,))
    seen = [replace(one, age=0) for one in data.draw(neighbours(config, least=1))]
    old = data.draw(st.integers(0, len(seen) - 1))
    (before,) = candidate_rows(config, seen)
    seen[old] = replace(seen[old], age=data.draw(st.integers(1, 9)))
    (after,) = candidate_rows(config, seen)
    factor = (1 + seen[old].age) ** -0.5 if seen[old].age <= config.max_age else 0.0
    assert after.row[old + 1] == pytest.approx(before.row[old + 1] * factor, abs=SUM_TOLERANCE)
    assert after.row[0] >= before.row[0]
    others = [k + 1 for k in range(len(seen)) if k != old]
    assert [after.row[k] for k in others] == [before.row[k] for k in others]


@every([*PUBLISHED, *PLAIN])
@few
@given(st.data())
def test_other_strategies_ignore_age_up_to_the_maximum(config: TrustConfig, data: st.DataObject) -> None:
    seen = data.draw(neighbours(config, least=1))
    young = [replace(one, age=min(one.age, config.max_age)) for one in seen]
    fresh = [replace(one, age=0) for one in seen]
    assert candidate_rows(config, young) == candidate_rows(config, fresh)


@every(ALL)
def test_a_peer_whose_neighbours_are_all_too_old_keeps_exactly_everything(config: TrustConfig) -> None:
    (candidate,) = candidate_rows(config, crowd(config, 0.1, 0.2, 0.7, ages=(9, 9, 9)))
    assert candidate.row == (1.0, 0.0, 0.0, 0.0)


def test_plain_averaging_forgets_only_the_too_old() -> None:
    config = TrustConfig(strategy="uniform")
    (candidate,) = candidate_rows(config, crowd(config, 0.1, 0.1, 0.1, ages=(0, 4, 5)))
    assert candidate.row == pytest.approx((0.5, 0.25, 0.25, 0.0))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@every([config for config in ALL if evidence_of(config)])
def test_a_measure_that_is_not_finite_is_a_value_error(config: TrustConfig, bad: float) -> None:
    with pytest.raises(ValueError, match="distance must be"):
        rows(config, 0.1, bad)
    with pytest.raises(ValueError, match="distance must be"):
        rows(config, 0.1, error=bad)
    (one,) = crowd(config, 0.1)
    with pytest.raises(ValueError, match="distance must be"):
        candidate_rows(config, [replace(one, own=(bad,) * len(one.own))])


@every(ALL)
def test_only_where_a_neighbour_can_be_better_may_distances_be_below_zero(config: TrustConfig) -> None:
    if all(EVIDENCE[kind].compares_losses for kind in evidence_of(config)):
        assert rows(config, -0.1)
        return
    with pytest.raises(ValueError, match="distance must be one by"):
        rows(config, -0.1)


def test_neighbours_have_the_measures_of_the_strategy() -> None:
    with pytest.raises(ValueError, match="distances must be 2"):
        candidate_rows(TrustConfig(strategy="product"), crowd(TrustConfig(), 0.1))
    with pytest.raises(ValueError, match="distances must be 0"):
        candidate_rows(TrustConfig(strategy="uniform"), crowd(TrustConfig(), 0.1))
    with pytest.raises(ValueError, match="age must be"):
        candidate_rows(TrustConfig(), crowd(TrustConfig(), 0.1, ages=(-1,)))


def test_a_learned_row_is_not_made_of_evidence() -> None:
    config = TrustConfig(strategy="learned")
    with pytest.raises(ValueError, match="learned"):
        rows(config, 0.1)
