"""Pulls where most authors are not connected."""

from __future__ import annotations

import math

from peers.core.config import CoreConfig, RoundConfig
from peers.core.effects import Pull
from peers.core.events import Heard, NotPulled
from peers.core.round.stages import Resting
from sim.toy.adding import add_toy
from sim.world.conditions import Conditions, TopologyConfig
from sim.world.world import World
from wire.codec import decode_announcement

PEERS, ROUNDS = 18, 4


def sparse_world() -> World:
    topology = TopologyConfig(kind="random", degree=4)
    world = World(conditions=Conditions(topology=topology), logged=True)
    for number in range(PEERS):
        config = CoreConfig(name=f"peer-{number}", round=RoundConfig(rounds=ROUNDS))
        lean = [0.5 * math.sin(number + axis) for axis in range(4)]
        add_toy(world, config, [float(number % 3), 1.0, 0.0, 0.0], lean=lean)
    world.begin()
    world.run(seconds=100.0, until=lambda: all(isinstance(one.core.stage, Resting) for one in world.nodes))
    return world


def test_no_pull_fails_but_of_an_announcement_that_a_newer_one_replaced() -> None:
    world = sparse_world()
    pulls = {
        (one.peer, effect.request): effect.digest
        for one in world.log
        for effect in one.effects
        if isinstance(effect, Pull)
    }
    round_of: dict[bytes, int] = {}
    author_of: dict[bytes, bytes] = {}
    newest: dict[tuple[int, bytes], int] = {}
    failed = 0
    for one in world.log:
        if isinstance(one.event, Heard):
            told = decode_announcement(one.event.frame).announcement
            newest[one.peer, told.author] = max(newest.get((one.peer, told.author), 0), told.round)
            for ref in (told.update, told.evidence):
                round_of[ref.digest], author_of[ref.digest] = told.round, told.author
        elif isinstance(one.event, NotPulled):
            digest = pulls[one.peer, one.event.request]
            failed += newest[one.peer, author_of[digest]] == round_of[digest]

    assert len(pulls) > 100
    assert failed == 0


def test_authors_two_connections_away_take_part_from_the_second_round_on() -> None:
    world = sparse_world()
    seen = {round_: [len(node.rounds[round_].seen) for node in world.nodes] for round_ in range(ROUNDS)}
    assert max(seen[0]) == 4
    assert min(seen[ROUNDS - 1]) > 4
