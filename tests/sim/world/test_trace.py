"""The trace of a world: which differences change its digest, and which must not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from peers.core.effects import Drop, Judge, Verdict, WakeAt
from peers.core.events import (
    Comparing,
    Connected,
    Deadline,
    Disconnected,
    Event,
    Pulled,
    Reopening,
    Started,
    Woke,
)
from sim.world.trace import Trace
from wire.digest import Content

WORLD = """
from peers.core.config import CoreConfig, RoundConfig
from sim.world.conditions import *
from sim.toy.adding import add_toy
from sim.world.world import World

conditions = Conditions(
    link=LinkConfig(loss=0.05, bandwidth_bytes_s=20_000.0),
    compute=ComputeConfig(speeds=(1.0, 2.0, 0.3)),
    topology=TopologyConfig(kind="random", degree=4),
    churn=ChurnConfig(
        late=("p3 at 5",), outages=("p1 from 4 to 9",), cuts=("p0 p2 | p4 p5 p6 from 2 to 8",), crashes_per_hour=200.0
    ),
)
world = World(seed=11, conditions=conditions)
for n in range(12):
    add_toy(world, CoreConfig(name=f"p{n}", round=RoundConfig(most_partners=3, explore=2)), [1.0, n % 2, 0.0, 0.0])
world.begin()
world.run(seconds=20)
print(world.trace, world.events, sum(node.received["blob"] for node in world.nodes))
"""


def trace_of(
    event: Event, *effects: Drop | Judge | WakeAt, at: float = 1.0, peer: int = 0, life: int = 1
) -> str:
    trace = Trace()
    trace.add(at, peer, life, event, effects)
    return trace.hexdigest()


def test_every_difference_of_an_event_changes_the_digest() -> None:
    one, other = Content.of(b"one"), Content.of(b"other")
    traces = [
        trace_of(Started()),
        trace_of(Started(), at=1.0000000000000002),
        trace_of(Started(), peer=1),
        trace_of(Started(), life=2),
        trace_of(Started(), Drop(peer="a")),
        trace_of(Started(), Drop(peer="a"), Drop(peer="a")),
        trace_of(Started(), Judge(verdict=Verdict.ACCEPT)),
        trace_of(Started(), Judge(verdict=Verdict.REJECT)),
        trace_of(Started(), WakeAt(at=2.0, timer=Comparing())),
        trace_of(Started(), WakeAt(at=2.0, timer=Reopening())),
        trace_of(Connected(peer="a")),
        trace_of(Disconnected(peer="a")),
        trace_of(Woke(timer=Comparing())),
        trace_of(Woke(timer=Reopening())),
        trace_of(Woke(timer=Deadline(round=1))),
        trace_of(Pulled(request=1, content=one)),
        trace_of(Pulled(request=1, content=other)),
    ]
    assert len(set(traces)) == len(traces)


def test_contents_count_by_their_digest() -> None:
    same = Pulled(request=1, content=Content(Content.of(b"one").digest, b"held elsewhere"))
    assert trace_of(same) == trace_of(Pulled(request=1, content=Content.of(b"one")))


def test_reading_the_digest_does_not_change_it() -> None:
    looked, unlooked = Trace(), Trace()
    for number in range(5):
        for trace in (looked, unlooked):
            trace.add(1.0, number, 1, Started(), ())
        looked.hexdigest()
    assert looked.hexdigest() == unlooked.hexdigest()


@pytest.fixture(scope="module")
def traces() -> list[str]:
    def ran(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", WORLD]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    return [ran("1"), ran("2")]


def test_a_world_with_all_conditions_has_equal_traces_in_two_processes(traces: list[str]) -> None:
    assert traces[0] == traces[1]
    assert len(traces[0].split()[0]) == 64
