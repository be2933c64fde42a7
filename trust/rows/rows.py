"""What is known of the neighbours -> candidate rows: how much a peer keeps, and how much it takes from each.

A row has K+1 weights for K neighbours, entry 0 the peer itself; it is non-negative and sums to 1. Every
strategy proposes one row or several (`candidate_rows`), of which the peer takes the one whose merge does best on
its own trust split (`chosen`), or one nearer to itself (`shrunk`).

Our form of rows from distances is in `softmax.py`. The published forms (Wagner, Fan and Jaggi 2024, arXiv
2404.09753) are one softmax of minus the distances, own distance 0: their constants depend on the model, on the
unit of the evidence or on the number of peers, and are kept as they are, for comparison.

How much text each speaks for may be multiplied into any of them, except where the weights are given ("fixed") or
there is nothing to weigh ("local"). A learned row comes from the learner; here is only where it begins
(`starting_row`), and `token_weighted` is for it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from trust.rows.config import (
    SIGNED,
    Evidence,
    Form,
    Strategy,
    TrustConfig,
    alpha_of,
    evidence_of,
    fixed_shares,
)
from trust.rows.evidence import MAX_DISTANCE, Distance
from trust.rows.priors import NO_TEXT, Counts, age_priors, token_weighted
from trust.rows.softmax import near, paired, product, softmax

__all__ = (
    "Candidate",
    "Counts",
    "Evidence",
    "Form",
    "Neighbour",
    "Row",
    "Strategy",
    "TrustConfig",
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
Weighting: TypeAlias = Callable[[Sequence[float]], Row]

CODE_SHARPNESS = 10.0
"""Released code of Wagner et al. (2024): logit distances, made to sum to 1 over the row, count ten times."""

UNIFORM_SHARE = 0.1
"""Part of a learned row's start that is uniform. Guess: enough for a weight that fell to 0 to rise again."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What counts of a neighbour for a row. `distances` are by the kinds of `evidence_of`, in its order;
    `own` is the same measure of the peer itself, and `age` in rounds. `tokens` and `samples` are what it claims
    of its text, by the count that `tokens_count` names."""

    peer: str
    name: str
    distances: tuple[Distance, ...]
    own: tuple[float, ...]
    age: int
    tokens: int = 0
    samples: int = 0


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
    finite, an error or age below 0, or a distance below 0 where there is none; and for strategy "learned".
    """
    _check(evidence_of(config), neighbours)
    if not neighbours:
        return (Candidate(None, (1.0,)),)
    counts = (me, *(Counts(one.tokens, one.samples) for one in neighbours))
    weighted = partial(token_weighted, counts=counts, config=config, alpha=alpha)
    match config.strategy:
        case "predictions" | "weights" | "validation" if config.form != "ours":
            weights = weighted(_published(config, neighbours))
            rows = (Candidate(None, _undecayed(config, neighbours, weights)),)
        case "predictions" | "weights" | "validation" | "product":
            rows = _soft_rows(config, neighbours, weighted)
        case "fomo":
            rows = (Candidate(None, _undecayed(config, neighbours, weighted(_fomo(neighbours)))),)
        case "fixed":
            rows = (Candidate(None, _undecayed(config, neighbours, _fixed(config, neighbours))),)
        case "uniform":
            # Plain averaging; with the amounts of text as in federated averaging (arXiv 1602.05629).
            weights = weighted([1 / (len(neighbours) + 1)] * (len(neighbours) + 1))
            rows = (Candidate(None, _undecayed(config, neighbours, weights)),)
        case "local":
            rows = (Candidate(None, (1.0, *(0.0 for _ in neighbours))),)
        case "learned":
            raise ValueError('strategy must be one that makes rows of evidence, got "learned"')
    return rows


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


def _soft_rows(
    config: TrustConfig, neighbours: Sequence[Neighbour], weighted: Weighting
) -> tuple[Candidate, ...]:
    """Our form: one row for each temperature, the amounts of text, and what age takes."""
    kinds = [
        paired(distances) if kind in SIGNED else near(distances)
        for kind, distances in zip(evidence_of(config), _by_kind(neighbours), strict=True)
    ]
    distances = product(kinds)
    priors = age_priors([one.age for one in neighbours], decay=config.age_decay, max_age=config.max_age)
    rows: dict[Row, Candidate] = {}
    for temperature in config.temperatures:
        row = _row(weighted(softmax(distances, temperature=temperature)), priors)
        rows.setdefault(row, Candidate(temperature, row))
    return tuple(rows.values())


def _published(config: TrustConfig, neighbours: Sequence[Neighbour]) -> list[float]:
    """softmax(-d) with the peer at 0, which is softmax of the cosines, of minus the losses or perplexities."""
    distances = [0.0, *(one.distances[0].mean for one in neighbours)]
    if (config.strategy, config.form) == ("predictions", "paper-code"):
        whole = math.fsum(distances) or 1.0
        distances = [CODE_SHARPNESS * distance / whole for distance in distances]
    return softmax(distances)


def _fomo(neighbours: Sequence[Neighbour]) -> list[float]:
    """FedFomo, arXiv 2012.08565, equation 3: in proportion to the gain, nothing for who brings none."""
    own = min(one.own[0] for one in neighbours)
    gains = [max(0.0, -measure) for measure in (own, *(one.distances[0].mean for one in neighbours))]
    whole = math.fsum(gains)
    if not whole:
        return [1.0, *(0.0 for _ in neighbours)]
    return [gain / whole for gain in gains]


def _fixed(config: TrustConfig, neighbours: Sequence[Neighbour]) -> list[float]:
    others = [0.0 for _ in neighbours]
    for who, weight in fixed_shares(config.fixed).items():
        here = [k for k, one in enumerate(neighbours) if who in (one.peer, one.name)]
        for k in here:
            others[k] += weight / len(here)
    return [max(0.0, 1 - math.fsum(others)), *others]


def _undecayed(config: TrustConfig, neighbours: Sequence[Neighbour], weights: Sequence[float]) -> Row:
    return _row(weights, age_priors([one.age for one in neighbours], decay=0.0, max_age=config.max_age))


def _row(weights: Sequence[float], priors: Sequence[float]) -> Row:
    """What the priors take from others goes to the peer itself; exactly 1 where nobody else is left."""
    own, *others = weights
    kept = [weight * prior for weight, prior in zip(others, priors, strict=True)]
    if not any(kept):
        return (1.0, *kept)
    taken = math.fsum(weight - left for weight, left in zip(others, kept, strict=True))
    return (own + taken, *kept)


def _by_kind(neighbours: Sequence[Neighbour]) -> list[tuple[Distance, ...]]:
    return list(zip(*(one.distances for one in neighbours), strict=True))


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
    least = -MAX_DISTANCE if kind in SIGNED else 0.0
    return least <= distance.mean <= MAX_DISTANCE and 0.0 <= distance.error <= MAX_DISTANCE
