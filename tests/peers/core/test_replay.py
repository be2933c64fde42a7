"""The replay law: equal events at equal times give equal effects, in this process and in any other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest

from peers.core.core import Core
from peers.core.events import LearnerAnswer
from sim.world.trace import Happened
from sim.world.world import World
from support.core_bench import Bench

WORLD = """
from peers.core.config import CoreConfig, RoundConfig
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig
from sim.toy.adding import add_toy
from sim.world.world import World

def world(seed):
    conditions = Conditions(link=LinkConfig(loss=0.1), compute=ComputeConfig(step_s=0.5, answer_s=0.0))
    world = World(seed=seed, conditions=conditions, logged=True)
    rounds = RoundConfig(steps=2, most_partners=3, explore=2)
    peers = [
        add_toy(world, CoreConfig(name=f"p{n}", round=rounds), [1.0, float(n % 2), 0.0, 0.0], speed=1 + n / 4)
        for n in range(6)
    ]
    world.begin()
    world.run(seconds=4)
    world.crash(peers[0])
    world.cut(peers[1], peers[2])
    world.run(seconds=3)
    world.start(peers[0])
    world.heal(peers[1], peers[2])
    world.run(seconds=4)
    return world
"""


def a_world(seed: int) -> World:
    names: dict[str, Any] = {}
    exec(WORLD, names)  # the same text that the other processes run
    return names["world"](seed)


@pytest.mark.parametrize("seed", range(4))
def test_each_life_of_each_peer_lived_again_asks_for_the_same(seed: int) -> None:
    world = a_world(seed)
    lives: dict[tuple[int, int], list[Happened]] = defaultdict(list)
    for one in world.log:
        lives[one.peer, one.life].append(one)

    assert len(lives) == 7
    for (peer, life), events in lives.items():
        node = world.nodes[peer]
        core = Core(node.config, node.keys, node.beginnings[life - 1])
        for one in events:
            assert tuple(core.handle(one.event, one.at)) == one.effects, f"seed {seed}, {one.event!r}"


def test_a_seed_is_a_world() -> None:
    assert a_world(7).trace == a_world(7).trace
    assert a_world(7).trace != a_world(8).trace


def test_the_order_of_sets_and_hashes_decides_nothing() -> None:
    def trace(hash_seed: str) -> str:
        script = f"{WORLD}\nprint(world(3).trace)"
        ran = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return ran.stdout.strip()

    assert trace("1") == trace("2") == a_world(3).trace


def test_what_is_not_to_be_answered_gives_nothing_twice(bench: Bench) -> None:
    """Every answer of a whole round, told again in the next one, changes no effect of that one."""
    quiet, noisy = Bench(), Bench()
    told: list[LearnerAnswer] = []
    one, other = quiet.start(), noisy.start()
    for _ in range(3):
        one, other = quiet.train(one), noisy.train(other)
        for event in told:
            assert noisy.tell(event) == []
        one, other = quiet.publish(one), noisy.publish(other)
        told.append(noisy.answer_to(other))
        one, other = quiet.answer(one), noisy.tell(told[-1])
        assert one == other
