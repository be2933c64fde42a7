"""Devices of speeds 1:2:4:8 with rounds of one length: who waits for whom."""

from __future__ import annotations

import msgspec
import pytest

from peers.core.config import CoreConfig, RoundConfig
from sim.toy.learner import ToyLearner
from sim.world.conditions import ComputeConfig, Conditions
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World

SPEEDS = (1.0, 2.0, 4.0, 8.0)
CONDITIONS = Conditions(compute=ComputeConfig(step_s=2.0, answer_s=0.15, speeds=SPEEDS))
ROUND_S = 40.0


def ran(config: RoundConfig) -> list[SimulatedPeer]:
    world = World(conditions=CONDITIONS)
    nodes = [
        world.add(CoreConfig(name=f"p{index}", round=config), lambda: ToyLearner([1.0] * 4), watts=1.0)
        for index in range(len(SPEEDS))
    ]
    world.begin()
    world.run(seconds=20 * ROUND_S)
    return nodes


def waiting(node: SimulatedPeer, *, since: int) -> float:
    """The share of its time in which a peer's learner does nothing, from a round on."""
    costs = [one.cost for one in node.rounds[since:] if not isinstance(one.cost, msgspec.UnsetType)]
    assert len(costs) > 5
    return 1 - sum(one.processor_s for one in costs) / sum(one.seconds for one in costs)


@pytest.mark.parametrize(
    "config",
    [
        RoundConfig(steps=5, seconds=ROUND_S),
        RoundConfig(steps=5, seconds=ROUND_S, guard=False),
        RoundConfig(steps=5, seconds=ROUND_S, barrier=True, patience_s=1000.0),
    ],
    ids=["guarded", "unguarded", "barrier"],
)
def test_with_rounds_of_one_length_no_device_waits_more_than_a_tenth_of_its_time(config: RoundConfig) -> None:
    nodes = ran(config)
    assert [node.rounds[-1].steps for node in nodes] == [20, 40, 80, 160]
    assert max(waiting(node, since=4) for node in nodes) < 0.1


def test_with_equal_steps_the_fast_ones_wait_for_the_slow_ones() -> None:
    nodes = ran(RoundConfig(steps=20, guard=False))
    assert waiting(nodes[0], since=4) < 0.1
    assert min(waiting(node, since=4) for node in nodes[1:]) > 0.4


def test_a_round_repeated_from_the_disk_takes_the_same_steps() -> None:
    world = World(conditions=CONDITIONS)
    config = RoundConfig(steps=5, seconds=ROUND_S)
    node = world.add(CoreConfig(name="p", round=config), lambda: ToyLearner([1.0] * 4))
    world.begin()
    world.run(seconds=100)
    world.crash(node)
    world.start(node)
    world.run(seconds=100)
    assert [one.steps for one in node.rounds[1:]] == [20] * (len(node.rounds) - 1)


@pytest.mark.parametrize("seconds", [-1.0, 90_000.0])
def test_a_time_out_of_bounds_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be in"):
        RoundConfig(seconds=seconds)
