"""What is known of the neighbours -> candidate rows: how much a peer keeps, and how much it takes from each.

A row has K+1 weights for K neighbours, entry 0 the peer itself; it is non-negative and sums to 1. Every
strategy proposes one row or several (`candidate_rows`), of which the peer takes the one whose merge does best on
its own trust split (`chosen`), or one nearer to itself (`shrunk`).

How a strategy makes weights of evidence stands in `strategies.py` and the files that it names. What applies to all
strategies is here: amounts of text are multiplied into the weights, then age takes from neighbours what goes to the
peer itself. A learned row comes from the learner: here is where it begins (`starting_row`), and `token_weighted`
applies to it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from trust.rows.config import TrustConfig, alpha_of, evidence_of, strategy_of
from trust.rows.evidence import MAX_DISTANCE, Distance, Neighbour
from trust.rows.evidence_kinds import EVIDENCE, Evidence
from trust.rows.priors import NO_TEXT, Counts, age_priors, token_weighted
from trust.rows.strategies import Form

__all__ = (
    "Candidate",
    "Counts",
    "Evidence",
    "Form",
    "Neighbour",
    "Row",
    "TrustConfig",
    "age_decay",
    "alpha_of",
    "candidate_rows",
    "chosen",
    "evidence_of",
    "is_measure",
    "shrunk",
    "starting_row",
    "token_weighted",
)

Row: TypeAlias = tuple[float, ...]

UNIFORM_SHARE = 0.1
"""Part of a learned row's start that is uniform. Guess: enough for a weight that fell to 0 to rise again."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row to try. `temperature` is None where the row was not made by one of several."""

    temperature: float | None
    row: Row


def candidate_rows(
    config: TrustConfig, neighbours: Sequence[Neighbour], me: Counts = NO_TEXT, *, alpha: float = 1.0
) -> tuple[Candidate, ...]:
    """The rows worth trying, highest temperature first.

    `me` is this peer's own text and `alpha` that of `alpha_of`; both are read only where `tokens_power` is above 0.
    What age then takes from a neighbour goes to the peer itself. Rows that come out the same are listed once,
    under the highest temperature, because each costs an evaluation. Never empty: without neighbours, or
    alone by choice, the one candidate keeps everything. Permuting the neighbours permutes the rows, exactly.
    Raises `ValueError` for neighbours whose measures are not those of `evidence_of(config)`, for one that is not
    finite, an error or age below 0, or a distance below 0 where there is none; and for a strategy whose row the
    learner fits, unless there are no neighbours.
    """
    _check(evidence_of(config), neighbours)
    if not neighbours:
        return (Candidate(None, (1.0,)),)
    strategy = strategy_of(config)
    if strategy.weights is None:
        raise ValueError(f"strategy must be one that makes rows of evidence, got {config.strategy!r}")
    if config.form == "ours":
        proposed = strategy.weights(config, neighbours)
    else:
        proposed = [(None, strategy.published[config.form].weights(neighbours))]
    counts = (me, *(Counts(each.tokens, each.samples) for each in neighbours))
    priors = age_priors([each.age for each in neighbours], decay=age_decay(config), max_age=config.max_age)
    rows: dict[Row, Candidate] = {}
    for temperature, weights in proposed:
        if strategy.counts_text:
            weights = token_weighted(weights, counts, config, alpha=alpha)  # noqa: PLW2901
        row = _discounted(weights, priors)
        rows.setdefault(row, Candidate(temperature, row))
    return tuple(rows.values())


def age_decay(config: TrustConfig) -> float:
    """The decay that applies: `TrustConfig.age_decay` for strategies that discount age, else 0."""
    return config.age_decay if strategy_of(config).decays and config.form == "ours" else 0.0


def starting_row(previous: Mapping[str, float], neighbours: Sequence[Neighbour]) -> Row:
    """Where learning a row begins: the last one, brought to who is here, and a little of the uniform one.

    `previous` is what each neighbour had of the last row, the rest being the peer's own. The uniform row where
    that says nothing about anybody here. No weight is 0, for one that is would stay so.
    """
    count = len(neighbours) + 1
    if not any(one.peer in previous for one in neighbours):
        return (1 / count,) * count
    own = max(0.0, 1 - math.fsum(previous.values()))
    kept = [own, *(previous.get(one.peer, 0.0) for one in neighbours)]
    # All of it may have been with peers that are gone.
    total = math.fsum(kept) or 1.0
    mixed = [(1 - UNIFORM_SHARE) * weight / total + UNIFORM_SHARE / count for weight in kept]
    whole = math.fsum(mixed)
    return tuple(weight / whole for weight in mixed)


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


def _discounted(weights: Sequence[float], priors: Sequence[float]) -> Row:
    """What the priors take from others goes to the peer itself; exactly 1 where nobody else is left."""
    own, *others = weights
    kept = [weight * prior for weight, prior in zip(others, priors, strict=True)]
    if not any(kept):
        return (1.0, *kept)
    taken = math.fsum(weight - left for weight, left in zip(others, kept, strict=True))
    return (own + taken, *kept)


def _check(kinds: tuple[Evidence, ...], neighbours: Sequence[Neighbour]) -> None:
    for one in neighbours:
        if not len(one.distances) == len(one.own) == len(kinds):
            raise ValueError(
                f"distances must be {len(kinds)} and as many own, got {one.distances}, {one.own}"
            )
        for kind, distance, own in zip(kinds, one.distances, one.own, strict=True):
            if not is_measure(kind, distance) or not abs(own) <= MAX_DISTANCE:
                raise ValueError(f"distance must be one by {kind}, got {distance}, own {own}")


def is_measure(kind: Evidence, distance: Distance) -> bool:
    """Whether rows can be made of it: numbers within bounds, the mean below 0 only where that has a meaning."""
    least = -MAX_DISTANCE if EVIDENCE[kind].compares_losses else 0.0
    return least <= distance.mean <= MAX_DISTANCE and 0.0 <= distance.error <= MAX_DISTANCE
