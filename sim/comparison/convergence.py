"""What each method reaches at its peers' best states, and what it takes to come as far as training alone comes.

The target of a seed is the mean perplexity that peers reach alone at their best states: what `local` reaches with early
stopping. A method that comes there with fewer tokens is faster, one that never does is worse.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import msgspec

from sim.comparison.spread import Spread, spread
from sim.comparison.targets import reached
from sim.experiments.measuring.metrics import PeerMetrics, RunMetrics, StateMetrics


class TargetCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer spends until the target is reached, as means over seeds: tokens trained on, bytes sent, and virtual
    seconds."""

    tokens: float
    sent: float
    seconds: float


class BestSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Means over peers at each peer's state of least trust loss. `rounds` are the rounds done until then,
    `against_local` is the paired difference from `local`, `target` None where a seed never reaches it or has none."""

    perplexity: Spread
    rounds: Spread
    against_local: Spread | None
    target: TargetCost | None


def at_best(mine: Mapping[int, RunMetrics], alone: Mapping[int, RunMetrics]) -> BestSummary | None:
    """The runs of a method by seed, against those of `local`; None where no best states are known."""
    perplexity = spread(_over_peers(run, _test) for run in mine.values() if _known(run))
    rounds = spread(_over_peers(run, _rounds) for run in mine.values() if _known(run))
    if perplexity is None or rounds is None:
        return None
    common = [
        seed for seed in sorted(mine.keys() & alone.keys()) if _known(mine[seed]) and _known(alone[seed])
    ]
    return BestSummary(
        perplexity=perplexity,
        rounds=rounds,
        against_local=None
        if mine is alone
        else spread(_over_peers(mine[seed], _test) - _over_peers(alone[seed], _test) for seed in common),
        target=_cost(mine, {seed: _over_peers(alone[seed], _test) for seed in common}),
    )


def _cost(runs: Mapping[int, RunMetrics], targets: Mapping[int, float]) -> TargetCost | None:
    came = [reached(runs[seed], target) for seed, target in targets.items()]
    whole = [one for one in came if one is not None]
    if not whole or len(whole) < len(came):
        return None
    return TargetCost(
        tokens=statistics.fmean(one.tokens for one in whole),
        sent=statistics.fmean(one.sent for one in whole),
        seconds=statistics.fmean(one.seconds for one in whole),
    )


def _known(run: RunMetrics) -> bool:
    return any(peer.best is not None for peer in run.peers)


def _test(state: StateMetrics) -> float:
    return state.test


def _rounds(state: StateMetrics) -> float:
    return float(state.round + 1)


def _over_peers(run: RunMetrics, value: Callable[[StateMetrics], float]) -> float:
    return statistics.fmean(value(best) for best in map(_best, run.peers) if best is not None)


def _best(peer: PeerMetrics) -> StateMetrics | None:
    return peer.best
