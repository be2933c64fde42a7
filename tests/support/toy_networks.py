"""Histories of toy networks: the cores are those of devices, only the learner is played."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol, Unpack

from peers.core.config import CoreConfig, DefenceConfig, RoundConfig
from sim.toy.adding import add_toy
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig
from sim.world.world import World
from support.core_bench import RoundOptions
from support.records import append_entries
from trust.inspection.reading.files import HistoryRun, read_run
from trust.record.history import HISTORY_FILE, Entry
from trust.rows.rows import TrustConfig

TARGETS = ([1.0, 1, 1, 1], [1.0, 1, 1, 0.9], [1.0, 1, 0.8, 0.9], [-3.0, 2, 0, 1])
"""Three peers that have much to learn from each other, and one that has not."""


class WriteRun(Protocol):
    """Writes entries, or plays a toy network with these settings and writes its entries; reads the run back."""

    def __call__(self, what: TrustConfig | list[Entry], /, **rounds: Unpack[RoundOptions]) -> HistoryRun: ...


def played(trust: TrustConfig, **changes: Unpack[RoundOptions]) -> list[Entry]:
    """All entries of a network in which some peers are slower and all have different amounts of text."""
    link = LinkConfig(latency_s=0.3)
    world = World(seed=1, conditions=Conditions(link=link, compute=ComputeConfig(step_s=0.5, answer_s=0.0)))
    rounds: RoundOptions = {
        "steps": 2,
        "patience_s": 1.0,
        "compare_every_s": 5.0,
        "rounds": 6,
        **changes,
    }
    for number, target in enumerate(TARGETS):
        lean = [0.5 * math.sin(number + axis) for axis in range(4)]
        # Toys have soon learned all that they can from each other, and would then ask nobody.
        config = CoreConfig(
            name=f"p{number}",
            round=RoundConfig(**rounds),
            trust=trust,
            defence=DefenceConfig(fruitless=0),
        )
        add_toy(world, config, target, lean=lean, speed=1 + 0.7 * number, tokens=100 * 3**number)
    world.begin()
    world.run(seconds=60.0)
    return sorted((entry for node in world.nodes for entry in node.history), key=lambda one: one.at_s)


def write_run(folder: Path, what: TrustConfig | list[Entry], **rounds: Unpack[RoundOptions]) -> HistoryRun:
    entries = played(what, **rounds) if isinstance(what, TrustConfig) else what
    append_entries(folder / HISTORY_FILE, "simulation", *entries)
    return read_run(folder)
