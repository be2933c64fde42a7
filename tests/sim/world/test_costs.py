"""Simulated peers with declared watts record virtual joules; all others record what they always did."""

from __future__ import annotations

import math

import msgspec
import pytest

from peers.core.config import CoreConfig, RoundConfig
from sim.toy.learner import ToyLearner
from sim.world.conditions import ComputeConfig, Conditions
from sim.world.devices import DevicesConfig
from sim.world.world import World


def test_joules_are_watts_times_the_time_in_which_the_learner_works() -> None:
    world = World(conditions=Conditions(compute=ComputeConfig(step_s=0.5, answer_s=0.25, speeds=(1.0, 2.0))))
    config = RoundConfig(steps=4, rounds=3, patience_s=2.0)
    nodes = [
        world.add(CoreConfig(name=f"p{number}", round=config), lambda: ToyLearner([1.0] * 4), watts=watts)
        for number, watts in enumerate((10.0, 40.0))
    ]
    world.begin()
    world.run(seconds=60)
    for node, watts, train_s in zip(nodes, (10.0, 40.0), (2.0, 1.0), strict=True):
        assert len(node.rounds) == 3
        for record in node.rounds:
            cost = record.cost
            assert not isinstance(cost, msgspec.UnsetType)
            assert cost.method == f"virtual: {watts:g} W x working time"
            assert cost.joules == pytest.approx(watts * cost.processor_s)
            assert train_s < cost.processor_s <= cost.seconds + 1e-9
        spent = math.fsum(one.cost.sent for one in node.rounds if not isinstance(one.cost, msgspec.UnsetType))
        assert 0 < spent <= sum(node.sent.values())


def test_watts_are_dealt_in_turn_and_checked() -> None:
    devices = DevicesConfig(watts=(4.0, 100.0))
    assert [devices.watts_of(index) for index in range(3)] == [4.0, 100.0, 4.0]
    assert DevicesConfig().watts_of(0) == 0.0
    with pytest.raises(ValueError, match="watts must each be in"):
        DevicesConfig(watts=(4.0, 0.0))
