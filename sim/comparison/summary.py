"""Summary of runs over methods and seeds: the types of `table.json`, and how they are computed.

A seed decides which peers get the harder texts, for all methods alike, so seeds differ more than methods do. Beside
means and standard deviations over seeds there are therefore *paired* differences: a method minus a baseline on the
same seed, then their mean and standard deviation.

Standard deviations are of a sample (divisor n - 1), null for a single seed. Nothing here depends on the wall clock.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from sim.comparison.bits import bits_between
from sim.comparison.convergence import BestSummary, at_best
from sim.comparison.spread import Spread, spread
from sim.experiments.measuring.metrics import SCHEMA, PeerMetrics, RunMetrics

BASELINES: Final = ("local", "fedavg", "theoretical")
REPORTING: Final = "test"
"""The purpose of passes that only report, which are not part of a method's cost."""


class DeviceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Perplexity after the last merge of one kind of peers, and its paired difference from training alone."""

    after: Spread
    against_local: Spread | None


class MethodSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table. Perplexities are means over peers, of which `before` and `after` stand around the last
    merge; differences below 0 are better than the baseline.

    `against` has a paired difference of `after` for each baseline that ran on a common seed. `worst` is the largest
    difference of one peer from the same peer trained alone. `pooled` is the perplexity after the last merge over the
    text of all peers together: peers count as much as their training text. `devices` has an entry for each kind of
    peer where there are several. `sent` is in bytes, `forward` and `backward` in
    tokens through the model, all for a peer and a round; of the passes, purpose "test" only reports.
    `at_best` is about the peers' best states instead of the last merge, None where these are not known.
    """

    method: str
    about: str
    finished: bool
    before: Spread
    after: Spread
    against: dict[str, Spread]
    worst: Spread | None
    pooled: Spread
    devices: dict[str, DeviceSummary]
    divergence: Spread
    correlation: Spread | None
    same: Spread
    effective: Spread
    sent: dict[str, float]
    forward: dict[str, float]
    backward: dict[str, float]
    at_best: BestSummary | None = None
    bits: dict[str, dict[str, Spread]] = {}
    """Reader -> text -> bits a byte (`sim.comparison.bits`); empty where all peers have one base model."""
    joules: float | msgspec.UnsetType = msgspec.UNSET
    """Virtual joules for a peer and a round; unset, and left out of the file, where no watts are declared."""

    @property
    def sent_bytes(self) -> float:
        return sum(self.sent.values())

    @property
    def forward_tokens(self) -> float:
        return sum(tokens for purpose, tokens in self.forward.items() if purpose != REPORTING)

    @property
    def backward_tokens(self) -> float:
        return sum(self.backward.values())


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `table.json`. `base` is the mean test perplexity of the untrained adapter."""

    schema: int = SCHEMA
    scenario: str
    peers: int
    rounds: int
    seeds: tuple[int, ...]
    base: float | None
    methods: tuple[MethodSummary, ...]


def compared(
    runs: Sequence[RunMetrics], *, scenario: str, peers: int, rounds: int, about: Mapping[str, str]
) -> Comparison:
    """The table of these runs, a row for each method in the order of `about`."""
    by_method = {
        method: {run.seed: run for run in runs if run.method == method}
        for method in about
        if any(run.method == method for run in runs)
    }
    bases = [one.base for run in runs for one in run.peers if one.base is not None]
    return Comparison(
        scenario=scenario,
        peers=peers,
        rounds=rounds,
        seeds=tuple(sorted({run.seed for run in runs})),
        base=statistics.fmean(bases) if bases else None,
        methods=tuple(_method(name, about[name], by_method) for name in by_method),
    )


def _method(name: str, about: str, by_method: Mapping[str, Mapping[int, RunMetrics]]) -> MethodSummary:
    mine = by_method[name]
    runs = [mine[seed] for seed in sorted(mine)]
    against = {
        baseline: difference
        for baseline in BASELINES
        if baseline != name and (difference := _paired(mine, by_method.get(baseline, {}), _after))
    }
    return MethodSummary(
        method=name,
        about=about,
        finished=all(run.finished for run in runs),
        before=_over(runs, lambda run: _mean(run, lambda one: one.before)),
        after=_over(runs, _after),
        against=against,
        worst=None if name == "local" else _worst(mine, by_method.get("local", {})),
        pooled=_over(runs, _pooled),
        devices=_devices(mine, by_method.get("local", {})),
        divergence=_over(runs, lambda run: _mean(run, lambda one: one.divergence)),
        correlation=spread(
            _mean(run, lambda one: one.correlation)
            for run in runs
            if any(one.correlation is not None for one in run.peers)
        ),
        same=_over(runs, lambda run: _mean(run, lambda one: one.same)),
        effective=_over(runs, lambda run: _mean(run, lambda one: one.effective)),
        sent=_for_each_round(runs, lambda run: _sum(one.sent for one in run.peers)),
        forward=_for_each_round(runs, lambda run: run.forward),
        backward=_for_each_round(runs, lambda run: run.backward),
        at_best=at_best(mine, by_method.get("local", {})),
        bits=bits_between(runs),
        joules=_joules(runs),
    )


def _joules(runs: Sequence[RunMetrics]) -> float | msgspec.UnsetType:
    by_run = [
        (math.fsum(known), run.peer_rounds)
        for run in runs
        if (known := [one.joules for one in run.peers if not isinstance(one.joules, msgspec.UnsetType)])
    ]
    return statistics.fmean(joules / rounds for joules, rounds in by_run) if by_run else msgspec.UNSET


def _over(runs: Sequence[RunMetrics], value: Callable[[RunMetrics], float]) -> Spread:
    whole = spread(map(value, runs))
    assert whole is not None, "a method in the table has a run"
    return whole


def _mean(run: RunMetrics, value: Callable[[PeerMetrics], float | None]) -> float:
    """Mean of a value over the peers that have it; 0 where no peer has."""
    known = [one for one in map(value, run.peers) if one is not None]
    return statistics.fmean(known) if known else 0.0


def _after(run: RunMetrics) -> float:
    return _mean(run, lambda one: one.after)


def _pooled(run: RunMetrics) -> float:
    known = [(one.targets, math.log(one.after)) for one in run.peers if one.after is not None]
    whole = sum(targets for targets, _ in known)
    return math.exp(math.fsum(targets * loss for targets, loss in known) / whole) if whole else 0.0


def _devices(mine: Mapping[int, RunMetrics], alone: Mapping[int, RunMetrics]) -> dict[str, DeviceSummary]:
    """A summary for each kind of peer, in the order of first occurrence; empty where all peers are alike."""
    kinds = list(dict.fromkeys(one.device for run in mine.values() for one in run.peers))
    if len(kinds) < 2:
        return {}

    def after(kind: str) -> Callable[[RunMetrics], float]:
        return lambda run: _mean(run, lambda one: one.after if one.device == kind else None)

    return {
        kind: DeviceSummary(
            after=_over(list(mine.values()), after(kind)),
            against_local=None if mine is alone else _paired(mine, alone, after(kind)),
        )
        for kind in kinds
    }


def _paired(
    mine: Mapping[int, RunMetrics], theirs: Mapping[int, RunMetrics], value: Callable[[RunMetrics], float]
) -> Spread | None:
    return spread(value(mine[seed]) - value(theirs[seed]) for seed in sorted(mine.keys() & theirs.keys()))


def _worst(mine: Mapping[int, RunMetrics], alone: Mapping[int, RunMetrics]) -> Spread | None:
    by_seed = [
        [
            one.after - other.after
            for one, other in zip(mine[seed].peers, alone[seed].peers, strict=True)
            if one.after is not None and other.after is not None
        ]
        for seed in sorted(mine.keys() & alone.keys())
    ]
    return spread(max(differences) for differences in by_seed if differences)


def _for_each_round(
    runs: Sequence[RunMetrics], total: Callable[[RunMetrics], Mapping[str, int]]
) -> dict[str, float]:
    """Totals divided by peers and rounds, as means over the runs."""
    kinds = sorted({kind for run in runs for kind in total(run)})
    return {
        kind: statistics.fmean(total(run).get(kind, 0) / run.peer_rounds for run in runs) for kind in kinds
    }


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    whole: Counter[str] = Counter()
    for one in counts:
        whole.update(one)
    return dict(whole)
