"""What a battery runs: one small scenario under every attack, by several numbers of attackers, with every method."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gossipllm.config import ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import RoundConfig
from sim.adversaries.config import NONE, AttackConfig
from sim.adversaries.table import ADVERSARIES
from sim.experiments.processes.all_runs import RunTask
from sim.experiments.results import configurations, run_folder
from sim.experiments.scenario_files import with_settings
from sim.experiments.scenarios import Scenario, TextConfig

ALONE: Final = "local"
"""The method that everything is measured against."""
STRATEGIES: Final = ("s3", "s1", "s2", "learned")
"""Rows of predictions, of weights, of validation losses, and learned ones."""
SHARES: Final = (1.0, 0.3, 0.5)
"""One attacker, three beside seven honest peers, and as many as these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryConfig:
    methods: tuple[str, ...] = STRATEGIES
    """Methods under attack, names of `gossipllm sim --list`."""

    attacks: tuple[str, ...] = tuple(ADVERSARIES)
    """Attacks, names of `sim.adversaries.table`."""

    attackers: tuple[float, ...] = SHARES
    """Numbers of attackers, each as in `AttackConfig`."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each cell is measured with each of them."""

    settings: tuple[str, ...] = ()
    """`key=value` settings on top of the battery's scenario."""

    def __post_init__(self) -> None:
        for name in ("methods", "attacks", "attackers", "seeds"):
            values: tuple[object, ...] = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be different values, at least one, got {values}")
        for number in self.attackers:
            AttackConfig(attackers=number)  # raises for a number that is none


@dataclass(frozen=True, slots=True)
class Cell:
    """One attack, by so many attackers, on one method."""

    attack: str
    attackers: float
    method: str


def scenario_of(
    base: Path, attack: AttackConfig, methods: tuple[str, ...], seeds: tuple[int, ...]
) -> Scenario:
    """Seven honest peers with little text of three languages each. Six rounds of mixing lower the perplexity of a peer
    by about 7 % of what it reaches alone."""
    return Scenario(
        name="attacks",
        peers=7,
        seeds=seeds,
        methods=methods,
        data=TextConfig(
            window_tokens=32,
            # As many as a peer has by default: fewer are not split into those that propose and those that judge.
            trust_windows=16,
            test_windows=24,
            partition=PartitionConfig(kind="iid", train_tokens=1024, trust_tokens=512, test_tokens=1024),
        ),
        round=RoundConfig(steps=6, rounds=6, barrier=True, patience_s=3600.0),
        model=ModelConfig(name=str(base)),
        training=TrainingConfig(batch_windows=2, learning_rate=3e-3, warmup_steps=3),
        reference=ReferenceConfig(windows=8),
        attack=attack,
    )


def cells(config: BatteryConfig) -> Iterator[Cell]:
    """The attacked cells, in the order of the table."""
    for attack in config.attacks:
        for attackers in config.attackers:
            for method in config.methods:
                yield Cell(attack, attackers, method)


def tasks(config: BatteryConfig, out: Path, base: Path) -> dict[tuple[Cell, int], RunTask]:
    """The runs of a battery by cell and seed, seed by seed, and of each seed first those without an attack."""
    found: dict[tuple[Cell, int], RunTask] = {}
    peaceful = (ALONE, *(method for method in config.methods if method != ALONE))
    groups = [(AttackConfig(), peaceful)]
    groups += [
        (AttackConfig(name=attack, attackers=attackers), config.methods)
        for attack in config.attacks
        for attackers in config.attackers
    ]
    for attack, methods in groups:
        scenario = with_settings(scenario_of(base, attack, methods, config.seeds), config.settings)
        folder = out / (NONE if not attack.present else f"{attack.name}-{attack.attackers:g}")
        for (method, seed), configuration in configurations(scenario).items():
            cell = Cell(attack.name, attack.attackers if attack.present else 0.0, method)
            found[cell, seed] = RunTask(
                replace(scenario, seeds=(seed,), methods=(method,)),
                method,
                seed,
                run_folder(folder, method, seed),
                configuration,
            )
    order = {seed: place for place, seed in enumerate(config.seeds)}
    return dict(sorted(found.items(), key=lambda item: order[item[0][1]]))


def peaceful_cell(method: str) -> Cell:
    """The same method without an attack."""
    return Cell(NONE, 0.0, method)
