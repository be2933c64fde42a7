"""Candidate trust rows: how much of its own adapter a peer keeps, and how much it takes from each neighbour.

A row has K+1 weights for K neighbours; weight 0 is the peer itself. Weights are non-negative and sum to 1. Every
strategy proposes one or several rows (`candidate_rows`); the peer takes the row whose merge has the least loss on its
trust split (`chosen`), or a row nearer to itself (`shrunk`).

`strategies.py`, and the files that it names, turn evidence into weights. This file applies what all strategies have in
common: amounts of text are multiplied into the weights, then the age discount moves weight from neighbours to the peer
itself. The learner fits a learned row, from `starting_row` on; `token_weighted` applies to it too.
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
"""Uniform part of the start of a learned row. Guess: enough for a weight that fell to 0 to rise again."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row to try, and the temperature that it was computed with; None for a strategy without temperatures."""

    temperature: float | None
    row: Row


def candidate_rows(
    config: TrustConfig, neighbours: Sequence[Neighbour], me: Counts = NO_TEXT, *, alpha: float = 1.0
) -> tuple[Candidate, ...]:
    """The distinct rows that a strategy proposes, highest temperature first.

    `me` counts this peer's own text and `alpha` comes from `alpha_of`; both are read only if `tokens_power` is above 0.
    Weight that the age discount takes from a neighbour goes to the peer itself. Equal rows are listed once, under the
    highest temperature, because each costs an evaluation. The result is never empty: without neighbours, or with
    strategy "local", the only candidate keeps everything. Permuting the neighbours permutes the rows exactly.

    Raises `ValueError` for neighbours whose measures are not those of `evidence_of(config)`, for a measure that is not
    finite, an error or age below 0, or a distance below 0 of a kind that has none; and for a strategy whose row the
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
    """`TrustConfig.age_decay` for strategies that discount age in our form, else 0."""
    return config.age_decay if strategy_of(config).decays and config.form == "ours" else 0.0


def starting_row(previous: Mapping[str, float], neighbours: Sequence[Neighbour]) -> Row:
    """The row from which learning starts: the last row restricted to these neighbours, mixed with the uniform row.

    `previous` maps neighbours to their weights in the last row; the rest was the peer's own. The result is uniform if
    `previous` names none of these neighbours. No weight is 0, because the learner's steps are on the logarithms of the
    weights and could not raise it again.
    """
    count = len(neighbours) + 1
    if not any(neighbour.peer in previous for neighbour in neighbours):
        return (1 / count,) * count
    own = max(0.0, 1 - math.fsum(previous.values()))
    kept = [own, *(previous.get(neighbour.peer, 0.0) for neighbour in neighbours)]
    # The sum is 0 if peers that are gone had all the weight.
    total = math.fsum(kept) or 1.0
    mixed = [(1 - UNIFORM_SHARE) * weight / total + UNIFORM_SHARE / count for weight in kept]
    whole = math.fsum(mixed)
    return tuple(weight / whole for weight in mixed)


def chosen(candidates: Sequence[Candidate], losses: Sequence[float]) -> int | None:
    """Index of the candidate with the least loss; None, for no merge, where no loss is finite.

    Of equal losses, the row that keeps more of the peer itself wins, because it risks less; then the first.
    """
    if len(candidates) != len(losses):
        raise ValueError(
            f"there must be one loss for each candidate, got {len(losses)} for {len(candidates)}"
        )
    finite = [index for index, loss in enumerate(losses) if math.isfinite(loss)]
    return min(finite, key=lambda index: (losses[index], -candidates[index].row[0]), default=None)


def shrunk(row: Row) -> Row:
    """The row halfway from `row` to keeping everything. The guard tries it before it refuses a merge."""
    return ((row[0] + 1) / 2, *(weight / 2 for weight in row[1:]))


def _discounted(weights: Sequence[float], priors: Sequence[float]) -> Row:
    """The row in which weight that the priors take from neighbours goes to the peer itself.

    Renormalising instead would raise the fresh neighbours, although nothing speaks for them.
    """
    own, *others = weights
    kept = [weight * prior for weight, prior in zip(others, priors, strict=True)]
    # Exactly 1, where the sum below could leave a rounding error.
    if not any(kept):
        return (1.0, *kept)
    taken = math.fsum(weight - left for weight, left in zip(others, kept, strict=True))
    return (own + taken, *kept)


def _check(kinds: tuple[Evidence, ...], neighbours: Sequence[Neighbour]) -> None:
    for neighbour in neighbours:
        if not len(neighbour.distances) == len(neighbour.own) == len(kinds):
            raise ValueError(
                f"distances must be {len(kinds)} and as many own, got {neighbour.distances}, {neighbour.own}"
            )
        for kind, distance, own in zip(kinds, neighbour.distances, neighbour.own, strict=True):
            if not is_measure(kind, distance) or not abs(own) <= MAX_DISTANCE:
                raise ValueError(f"distance must be one by {kind}, got {distance}, own {own}")


def is_measure(kind: Evidence, distance: Distance) -> bool:
    """Whether `distance` is valid for `kind`: within bounds, with a mean below 0 only for differences of losses."""
    least = -MAX_DISTANCE if EVIDENCE[kind].compares_losses else 0.0
    return least <= distance.mean <= MAX_DISTANCE and 0.0 <= distance.error <= MAX_DISTANCE
