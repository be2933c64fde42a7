"""Numbers of attacked cells, and the limits that they are held against.

A ratio is an honest peer's test perplexity over what the same peer reaches alone, with the same text and seed. Below 1
it gains from the network.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from sim.adversaries.table import ADVERSARIES
from sim.attacks.battery import ALONE, Cell, peaceful_cell
from sim.experiments.measuring.metrics import RunMetrics

TRUSTED_AFTER: Final = 3
"""Rounds that attackers have before their weight is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    worst: float = 1.02
    """Largest ratio of any honest peer: joining does no harm, up to the noise of a measurement."""

    weight: float = 0.05
    """Largest weight of all attackers together in a round after the third, as a mean over honest peers."""

    kept_from_one: float = 0.8
    """Smallest share of the gain without attack that a single attacker leaves, as a mean over honest peers."""

    kept_from_some: float = 0.5
    """The same with up to 30 % attackers."""

    def kept(self, attackers: float) -> float | None:
        """The smallest share of the gain to keep; None where there is no limit."""
        if attackers == 1:
            return self.kept_from_one
        return self.kept_from_some if attackers <= 0.3 else None


class CellResult(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table, over `seeds` finished seeds.

    `mean` and `worst` are ratios: the mean over peers and seeds, and the largest of all. `kept` is the share of the
    gain without attack, None where there was none. `weight` is the largest weight of all attackers together after
    `TRUSTED_AFTER` rounds, and `hostile` the same over the rounds in which they attack: who alternates publishes in the
    other rounds what an honest peer does, and its weight there does no harm. `refused` is the share of refused merges,
    `triggered` the success of a backdoor, None without one. `misses` names the limits that are not met.
    """

    attack: str
    attackers: float
    method: str
    seeds: int
    mean: float
    worst: float
    clean: float
    kept: float | None
    weight: float
    hostile: float
    refused: float
    triggered: float | None
    misses: tuple[str, ...]


def judged(cell: Cell, runs: Mapping[tuple[Cell, int], RunMetrics], limits: Limits) -> CellResult | None:
    """The result of a cell over the seeds of which all three runs are there; None where there is no such seed."""
    alone, clean = peaceful_cell(ALONE), peaceful_cell(cell.method)
    seeds = [seed for at, seed in runs if at == cell and (alone, seed) in runs and (clean, seed) in runs]
    if not seeds:
        return None
    attacked = [ratios(runs[cell, seed], runs[alone, seed]) for seed in seeds]
    peaceful = [ratios(runs[clean, seed], runs[alone, seed]) for seed in seeds]
    mean, without = (statistics.fmean(map(statistics.fmean, each)) for each in (attacked, peaceful))
    worst = max(map(max, attacked))
    kept = (1 - mean) / (1 - without) if without < 1 else None
    weights, hostile, triggered = list[float](), list[float](), list[float]()
    fault = ADVERSARIES[cell.attack].fault()
    refused = rounds = 0
    for seed in seeds:
        attack = runs[cell, seed].attack
        assert attack is not None, "a cell is under attack"
        late = list(enumerate(attack.weights))[TRUSTED_AFTER:]
        weights.append(max((weight for _, weight in late), default=0.0))
        hostile.append(max((weight for round_, weight in late if fault.is_hostile(round_)), default=0.0))
        refused += attack.refused
        rounds += attack.rounds
        triggered += [] if attack.triggered is None else [attack.triggered]
    weight, least = statistics.fmean(weights), limits.kept(cell.attackers)
    misses = {
        "worst": worst > limits.worst,
        "kept": kept is not None and least is not None and kept < least,
        "weight": weight > limits.weight,
    }
    return CellResult(
        attack=cell.attack,
        attackers=cell.attackers,
        method=cell.method,
        seeds=len(seeds),
        mean=mean,
        worst=worst,
        clean=without,
        kept=kept,
        weight=weight,
        hostile=statistics.fmean(hostile),
        refused=refused / max(1, rounds),
        triggered=statistics.fmean(triggered) if triggered else None,
        misses=tuple(name for name, missed in misses.items() if missed),
    )


def ratios(run: RunMetrics, alone: RunMetrics) -> list[float]:
    """Each peer's final perplexity over its perplexity alone."""
    pairs = zip(run.peers, alone.peers, strict=True)
    return [one.after / other.after for one, other in pairs if one.after is not None and other.after]
