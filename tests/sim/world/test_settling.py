"""A network that has learned what it can comes to rest, and a peer with new text wakes those whom it helps."""

from __future__ import annotations

import math

from gossipllm.work import Train
from peers.core.config import CoreConfig, RoundConfig
from peers.core.plateau import SettleConfig
from peers.core.round.stages import Settled
from sim.toy.adding import add_toy
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World
from support.worlds import check

SETTLE = SettleConfig(patience=4, decays=1)
HOUR_S = 3600.0


def world_of_settlers(*targets: list[float], seed: int = 0) -> World:
    """One peer for each target, whose own text leads past it, each another way."""
    conditions = Conditions(link=LinkConfig(latency_s=0.2), compute=ComputeConfig(step_s=0.5, answer_s=0.0))
    world = World(seed=seed, conditions=conditions, logged=True)
    for number, target in enumerate(targets):
        add_settler(world, f"p{number}", target, number)
    return world


def add_settler(world: World, name: str, target: list[float], number: int) -> SimulatedPeer:
    lean = [0.5 * math.sin(number + axis) for axis in range(4)]
    round_ = RoundConfig(steps=2, patience_s=2.0, compare_every_s=5.0)
    return add_toy(
        world, CoreConfig(name=name, round=round_, settle=SETTLE), target, lean=lean, speed=1 + number / 7
    )


def trained(world: World, since: float = 0.0) -> list[Train]:
    return [
        one for entry in world.log if entry.at >= since for one in entry.effects if isinstance(one, Train)
    ]


def settled(world: World) -> bool:
    return all(node.core.stage == Settled() for node in world.nodes)


def test_peers_that_have_learned_all_they_can_rest_for_good() -> None:
    for seed in range(2):
        world = world_of_settlers(
            [1, 1, 1, 1], [1, 1, 1, 0.9], [1, 1, 0.8, 1], [-3, 2, 0, 1], [-3, 2, 0.2, 1], seed=seed
        )
        world.begin()
        world.run(seconds=HOUR_S)
        assert settled(world)
        rested = world.now
        world.run(seconds=3 * HOUR_S)
        assert settled(world)
        assert not trained(world, rested), "nobody wakes anybody, not even to look"
        check(world)


def test_each_ends_at_the_best_state_that_it_ever_had() -> None:
    world = world_of_settlers([1, 1, 1, 1], [1, 1, 1, 0.9], [-3, 2, 0, 1])
    world.begin()
    world.run(seconds=HOUR_S)
    for node in world.nodes:
        least = min(min(one.trust_alone, one.trust_merged) for one in node.rounds)
        assert node.rounds[-1].trust_merged == least
        assert node.rounds[-1].settled
        assert node.disk is not None
        assert node.disk.best is None


def test_a_newcomer_wakes_those_whom_it_helps_and_all_come_to_rest_again() -> None:
    world = world_of_settlers([1, 1, 1, 1], [1, 1, 1, 0.9])
    world.begin()
    world.run(seconds=HOUR_S)
    assert settled(world)
    before = [node.rounds[-1].trust_merged for node in world.nodes]
    rested = world.now
    newcomer = add_settler(world, "new", [1.0, 1.0, 1.0, 0.95], 4)
    world.start(newcomer)
    world.run(seconds=3 * HOUR_S)
    assert settled(world)
    assert [one.steps for one in trained(world, rested) if not one.steps], "the others looked"
    after = [node.rounds[-1].trust_merged for node in world.nodes]
    assert min(new - old for new, old in zip(after, before, strict=False)) < -0.002, "and one was helped"
    assert len(newcomer.rounds) < 200
    check(world)
