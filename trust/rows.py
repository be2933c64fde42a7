"""Distances -> candidate rows: how much of itself a peer keeps and how much it takes from each neighbour.

A row has K+1 weights for K neighbours, entry 0 the peer itself; it is non-negative and sums to 1. From
distances d the weights are a softmax of

    z_j = -d_j / (temperature * scale),    scale = the median distance,

so that no constant depends on the model, the data or the kind of evidence. The temperature is not guessed
either: there is one candidate for each in the configuration, and the peer takes the one whose merge does
best on its own trust split (`chosen`).

The peer itself has distance 0 by definition, which says nothing: with 0, a low temperature means training
alone and a high one plain averaging, with nothing useful between. So the peer counts as its own nearest
neighbour. Losses are different: there a peer's own distance of 0 is measured, and stays.

With one neighbour nearness has nothing to compare: every temperature gives 1/2, and whether to merge at all
is the guard's decision, which `shrunk` serves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from trust.evidence import Distance
from trust.priors import age_priors

Row: TypeAlias = tuple[float, ...]
Strategy: TypeAlias = Literal["predictions", "weights", "validation", "uniform", "local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustConfig:
    strategy: Strategy = "predictions"
    """What trust is made of: "predictions" (total variation on the reference set), "weights" (cosine of the
    updates), "validation" (their loss on this peer's trust split), "uniform" (plain averaging), "local"
    (alone). The first three after Wagner, Fan and Jaggi (2024), arXiv 2404.09753."""

    temperatures: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
    """Temperatures to try, in units of the median distance, falling; 1 to 16 of them, each in 0.001 to 1,000
    and each costing one evaluation of a merge on the trust split. Octaves, from nearly uniform to nearly
    nearest-only; guess."""

    age_decay: float = 0.5
    """A neighbour heard of `age` rounds ago counts `(1 + age) ** -age_decay`; 0 to 4, 0 for no decay. Not for
    "uniform". Form and value of asynchronous federated optimisation, arXiv 1903.03934."""

    max_age: int = 4
    """Rounds after which a neighbour's last word counts no more, whatever the strategy, 0 to 1,000. Guess."""

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(
                f"strategy must be one of {', '.join(get_args(Strategy))}, got {self.strategy!r}"
            )
        if not 1 <= len(self.temperatures) <= 16:
            raise ValueError(f"temperatures must be 1 to 16 numbers, got {len(self.temperatures)}")
        for temperature in self.temperatures:
            if not 0.001 <= temperature <= 1000:
                raise ValueError(f"temperatures must be in 0.001..1000, got {temperature}")
        if any(b >= a for a, b in zip(self.temperatures, self.temperatures[1:], strict=False)):
            raise ValueError(f"temperatures must fall, got {self.temperatures}")
        if not 0 <= self.age_decay <= 4:
            raise ValueError(f"age_decay must be in 0..4, got {self.age_decay}")
        if not 0 <= self.max_age <= 1000:
            raise ValueError(f"max_age must be in 0..1000, got {self.max_age}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row to try. `temperature` is None where the row has none."""

    temperature: float | None
    row: Row


def candidate_rows(
    config: TrustConfig, distances: Sequence[Distance], ages: Sequence[int]
) -> tuple[Candidate, ...]:
    """The rows worth trying, highest temperature first; `distances[k]` and `ages[k]` are neighbour k's.

    What age takes from a neighbour goes to the peer itself. Rows that come out the same are listed once,
    under the highest temperature, because each costs an evaluation. Never empty: without neighbours, or
    alone by choice, the one candidate keeps everything. Permuting the neighbours permutes the rows, exactly.
    Raises `ValueError` for a distance or error that is not finite, an error or age below 0, or a distance
    below 0 where the strategy has none.
    """
    if len(distances) != len(ages):
        raise ValueError(f"there must be one age for each distance, got {len(ages)} for {len(distances)}")
    _check(config.strategy, distances)
    if not distances:
        return (Candidate(None, (1.0,)),)
    return _STRATEGIES[config.strategy](config, distances, ages)


def chosen(candidates: Sequence[Candidate], losses: Sequence[float]) -> int | None:
    """Index of the candidate with the least loss; None where no loss is a finite number: stay alone.

    Between equal losses the row that keeps more of the peer itself wins, for it risks less; then the first.
    """
    if len(candidates) != len(losses):
        raise ValueError(
            f"there must be one loss for each candidate, got {len(losses)} for {len(candidates)}"
        )
    finite = [index for index, loss in enumerate(losses) if math.isfinite(loss)]
    return min(finite, key=lambda index: (losses[index], -candidates[index].row[0]), default=None)


def shrunk(row: Row) -> Row:
    """Halfway from `row` to keeping everything: what the guard tries before it refuses a merge."""
    return ((row[0] + 1) / 2, *(weight / 2 for weight in row[1:]))


def _by_nearness(
    config: TrustConfig, distances: Sequence[Distance], ages: Sequence[int]
) -> tuple[Candidate, ...]:
    """For distances whose zero says nothing: this peer counts as its own nearest neighbour."""
    others = [distance.mean for distance in distances]
    return _softmax_rows(config, min(others), others, _scale(others), ages)


def _by_loss(
    config: TrustConfig, distances: Sequence[Distance], ages: Sequence[int]
) -> tuple[Candidate, ...]:
    """For differences of losses: this peer keeps its measured 0, and noise is no signal.

    The scale never falls below the median standard error, so that neighbours whose losses cannot be told
    apart get weights that cannot be told apart.
    """
    best = min(0.0, *(distance.mean for distance in distances))
    above = [distance.mean - best for distance in distances]
    noise = float(np.median([distance.error for distance in distances]))
    # Without noise and with all neighbours equally good, what is left to compare is the peer itself.
    scale = max(_scale(above), noise) or -best
    return _softmax_rows(config, -best, above, scale, ages)


def _uniform(
    config: TrustConfig, distances: Sequence[Distance], ages: Sequence[int]
) -> tuple[Candidate, ...]:
    """Plain averaging over the peer and its K neighbours, as in federated averaging (arXiv 1602.05629)."""
    share = 1 / (len(distances) + 1)
    priors = age_priors(ages, decay=0.0, max_age=config.max_age)
    return (Candidate(None, _row(share, [share] * len(distances), priors)),)


def _local(
    _config: TrustConfig, distances: Sequence[Distance], _ages: Sequence[int]
) -> tuple[Candidate, ...]:
    return (Candidate(None, (1.0, *(0.0 for _ in distances))),)


_Rule: TypeAlias = Callable[[TrustConfig, Sequence[Distance], Sequence[int]], tuple[Candidate, ...]]

_STRATEGIES: dict[Strategy, _Rule] = {
    "predictions": _by_nearness,
    "weights": _by_nearness,
    "validation": _by_loss,
    "uniform": _uniform,
    "local": _local,
}


def _softmax_rows(
    config: TrustConfig, own: float, others: Sequence[float], scale: float, ages: Sequence[int]
) -> tuple[Candidate, ...]:
    """One row for each temperature. `scale` is 0 only where `own` and `others` are all equal."""
    priors = age_priors(ages, decay=config.age_decay, max_age=config.max_age)
    nearest = min(own, *others)
    above = [distance - nearest for distance in (own, *others)]
    rows: dict[Row, Candidate] = {}
    for temperature in config.temperatures:
        # A quotient that overflows is infinite, and its weight 0, as it should be.
        weights = [math.exp(-distance / scale / temperature) if distance else 1.0 for distance in above]
        total = math.fsum(weights)
        row = _row(weights[0] / total, [weight / total for weight in weights[1:]], priors)
        rows.setdefault(row, Candidate(temperature, row))
    return tuple(rows.values())


def _row(own: float, others: Sequence[float], priors: Sequence[float]) -> Row:
    """What the priors take from others goes to the peer itself; exactly 1 where nobody else is left."""
    kept = [weight * prior for weight, prior in zip(others, priors, strict=True)]
    if not any(kept):
        return (1.0, *kept)
    taken = math.fsum(weight - left for weight, left in zip(others, kept, strict=True))
    return (own + taken, *kept)


def _scale(distances: Sequence[float]) -> float:
    """The median distance; where at least half are 0, the median of the others; 0 where all are."""
    above = [distance for distance in distances if distance > 0]
    return float(np.median(distances)) or (float(np.median(above)) if above else 0.0)


def _check(strategy: Strategy, distances: Sequence[Distance]) -> None:
    for distance in distances:
        if not math.isfinite(distance.mean) or abs(distance.mean) > 1e100:
            raise ValueError(f"distance must be finite and at most 1e100, got {distance.mean}")
        if not 0 <= distance.error <= 1e100:
            raise ValueError(f"error must be in 0..1e100, got {distance.error}")
        if distance.mean < 0 and strategy not in ("validation", "uniform", "local"):
            raise ValueError(f"distance must be at least 0 for strategy {strategy}, got {distance.mean}")
