"""What each user gains over the best that its device could do alone, with errors, from the runs of many methods.

A user is one peer of one seed. Users of a seed hold the same text under every method, so all differences are paired,
and those between two states of a user are paired over its test windows.

**Best local.** Of all states that a user's device could have reached alone (every lone method, early stopped, and the
averages of its iterates) the one of least loss on the user's own trust split. Methods that train on the trust split,
or on text that the user does not have, are no candidates.

**Gap closed.** (best local - ours) / (best local - pooled), of mean perplexities, where "pooled" trains on the text of
all users of a kind.

**Intervals** are 95 % percentile intervals of a bootstrap that draws seeds and, within each, users, with replacement.

Axes: U users, W windows.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from sim.experiments.measuring.metrics import RunMetrics, StateMetrics

HARM: Final = 0.01
"""Relative increase of the perplexity over the best local beyond which a user counts as harmed."""
DRAWS: Final = 2000
"""Of the bootstrap."""
WORST: Final = 0.1
"""Share of the users whose changes make the "worst tenth"."""

User: TypeAlias = tuple[int, int]
"""Seed, and place among the peers."""
States: TypeAlias = Mapping[User, StateMetrics]
"""The state of each user that counts as the result of a method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Users' states against other states of the same users. Changes are relative: -0.1 is a tenth less perplexity.

    `worst` is the mean change of the worst tenth of the users, at least one; `harmed` counts the users whose
    perplexity is more than 1 % higher, by more than one standard error over their test windows.
    """

    change: Interval
    worst: float
    harmed: int
    users: int


def best_states(runs: Iterable[RunMetrics]) -> dict[User, StateMetrics]:
    """The best state of each user, by the user's trust split."""
    return {
        (run.seed, place): peer.best
        for run in runs
        for place, peer in enumerate(run.peers)
        if peer.best is not None
    }


def averaged_states(runs: Iterable[RunMetrics], name: str) -> dict[User, StateMetrics]:
    """For each user the average of this name at its best; without those that have none."""
    return {
        (run.seed, place): peer.averages[name]
        for run in runs
        for place, peer in enumerate(run.peers)
        if name in peer.averages
    }


def best_of(candidates: Sequence[States]) -> dict[User, StateMetrics]:
    """For each user that all candidates know the state of least trust loss."""
    return {
        user: min((states[user] for states in candidates), key=lambda state: state.trust)
        for user in _common(*candidates)
    }


def mean_perplexity(states: States) -> float:
    return statistics.fmean(state.test for state in states.values())


def mean_trust_loss(states: States) -> float:
    """By which a learning rate is chosen: never by the test split."""
    return statistics.fmean(state.trust for state in states.values())


def gain(ours: States, theirs: States) -> Gain | None:
    """What users gain with `ours` over `theirs`, over the users of both; None where there are none."""
    users = _common(ours, theirs)
    if not users:
        return None
    changes = sorted((ours[user].test / theirs[user].test - 1 for user in users), reverse=True)
    worst = changes[: max(1, round(WORST * len(changes)))]
    return Gain(
        change=_interval(users, lambda some: _mean(ours, some) / _mean(theirs, some) - 1),
        worst=statistics.fmean(worst),
        harmed=sum(is_harmed(ours[user], theirs[user]) for user in users),
        users=len(users),
    )


def gap_closed(ours: States, local: States, pooled: States) -> Interval | None:
    """None where there are no common users, or pooled training is no better than the best local."""
    users = _common(ours, local, pooled)
    if not users or _mean(pooled, users) >= _mean(local, users):
        return None

    def share(some: Sequence[User]) -> float:
        gap = _mean(local, some) - _mean(pooled, some)
        return (_mean(local, some) - _mean(ours, some)) / gap if gap else math.nan

    return _interval(users, share)


def is_harmed(ours: StateMetrics, theirs: StateMetrics) -> bool:
    """Whether the perplexity is more than 1 % higher, by more than one standard error of the paired difference. Where
    the windows of a state are not known, the error counts as 0."""
    error = 0.0
    if ours.windows and theirs.windows:
        change_W = np.array(ours.windows) - np.array(theirs.windows)
        error = float(change_W.std(ddof=1)) / len(change_W) ** 0.5
    return math.log(ours.test / theirs.test) - error > math.log1p(HARM)


def _common(*several: States) -> list[User]:
    """The users that all know, in order."""
    return sorted(user for user in several[0] if all(user in states for states in several)) if several else []


def _mean(states: States, users: Sequence[User]) -> float:
    return statistics.fmean(states[user].test for user in users)


def _interval(users: Sequence[User], value: Callable[[Sequence[User]], float]) -> Interval:
    """The value over these users, and its bootstrap interval. Equal users give equal intervals."""
    by_seed = [[user for user in users if user[0] == seed] for seed in sorted({seed for seed, _ in users})]
    rng = np.random.default_rng(0)
    drawn: list[float] = []
    for _ in range(DRAWS):
        seeds = [by_seed[int(index)] for index in rng.integers(len(by_seed), size=len(by_seed))]
        some = [
            of_seed[int(place)]
            for of_seed in seeds
            for place in rng.integers(len(of_seed), size=len(of_seed))
        ]
        drawn.append(value(some))
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Interval(value=value(users), low=float(low), high=float(high))
