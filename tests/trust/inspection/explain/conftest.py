"""Histories of toy networks, to explain: the cores are those of devices, only the learner is played."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peers.core.config import CoreConfig, RoundConfig
from sim.toy.learner import add_toy
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig
from sim.world.world import World
from trust.inspection.reading.files import HistoryRun, read_run
from trust.record.history import HISTORY_FILE, Entry
from trust.record.log import HistoryWriter
from trust.rows.rows import TrustConfig

TARGETS = ([1.0, 1, 1, 1], [1.0, 1, 1, 0.9], [1.0, 1, 0.8, 0.9], [-3.0, 2, 0, 1])
"""Three that have much to learn from each other, and one that has not."""

Written = Callable[..., HistoryRun]


def played(trust: TrustConfig, **rounds: Any) -> list[Entry]:
    """All entries of a network in which some are slower and all have different amounts of text."""
    link = LinkConfig(latency_s=0.3)
    world = World(seed=1, conditions=Conditions(link=link, compute=ComputeConfig(step_s=0.5, answer_s=0.0)))
    limits = RoundConfig(**{"steps": 2, "patience_s": 1.0, "compare_every_s": 5.0, "rounds": 6, **rounds})
    for number, target in enumerate(TARGETS):
        lean = [0.5 * math.sin(number + axis) for axis in range(4)]
        config = CoreConfig(name=f"p{number}", round=limits, trust=trust)
        add_toy(world, config, target, lean=lean, speed=1 + 0.7 * number, tokens=100 * 3**number)
    world.begin()
    world.run(seconds=60.0)
    return sorted((entry for node in world.nodes for entry in node.history), key=lambda one: one.at_s)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Entries, or the settings of a toy network to play, as a run that was read from a file."""

    def write(what: TrustConfig | list[Entry], **rounds: Any) -> HistoryRun:
        entries = played(what, **rounds) if isinstance(what, TrustConfig) else what
        with HistoryWriter(tmp_path / HISTORY_FILE, peer="simulation", now=0.0) as writer:
            for entry in entries:
                writer.append(entry)
        return read_run(tmp_path)

    return write
