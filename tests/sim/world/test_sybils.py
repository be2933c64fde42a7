"""A thousand identities behind four addresses against twenty honest peers: they get tickets, not places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pytest

from peers.core.events import Connected, Heard
from sim.world.conditions import Conditions, TopologyConfig
from sim.world.world import World
from support.core_bench import RemotePeer, update_of
from support.running_core import neighbourhood
from support.worlds import COMPUTE, world_of
from trust.record.history import Note, Refusal

HONEST: Final = 20
SYBILS: Final = 1_000
GROUPS: Final = 4
"""Addresses of the attacker; each has eight connections to each honest peer."""
ROUNDS: Final = 3


def sybil(number: int) -> RemotePeer:
    drift = (number % 97) / 97
    return RemotePeer(f"sybil{number}", update=update_of([9.0, drift, number / SYBILS, -9.0]))


def most_behind(world: World) -> int:
    """By how many rounds the newest announcement that an honest peer heard of another is behind, at most."""
    behind: list[int] = []
    for node in world.nodes:
        for other in world.nodes:
            if other is not node:
                newest = neighbourhood(node.core).inbox.newest_of(other.id)
                behind.append(other.core.round - newest.announcement.round if newest else ROUNDS + 1)
    return max(behind)


@dataclass
class Flood:
    """A world after a flood, and how far announcements were behind while it lasted."""

    world: World
    behind: int


@pytest.fixture(scope="module")
def flood() -> Flood:
    """Every second of the first rounds a fifth of the sybils announces itself, each to a quarter of the honest peers;
    their blobs are there for whoever asks."""
    conditions = Conditions(topology=TopologyConfig(relay=False), compute=COMPUTE)
    world = world_of(*[[1.0, 1.0, 1.0, 1.0]] * HONEST, speeds=lambda _: 1.0, conditions=conditions)
    sybils = [sybil(number) for number in range(SYBILS)]
    for one in sybils:
        world.outsiders[one.id] = {one.update.digest: one.update.data}
    world.run(seconds=0.2)
    for node in world.nodes:
        for number in range(8 * GROUPS):
            group = f"v4:203.0.113.{number % GROUPS}"
            world.tell(node, Connected(peer=sybils[number].id, group=group))
    for part in range(5):
        for number in range(part, SYBILS, 5):
            via = sybils[number % (8 * GROUPS)].id
            heard = Heard(frame=sybils[number].announce(inline=False), via=via)
            for node in world.nodes[number % 4 :: 4]:
                world.tell(node, heard)
        world.run(seconds=1)
    behind = most_behind(world)
    world.run(seconds=4)
    return Flood(world, behind)


@pytest.fixture
def flooded(flood: Flood) -> World:
    return flood.world


def test_honest_announcements_arrive_during_the_flood_and_after(flood: Flood) -> None:
    assert flood.behind <= 1
    assert most_behind(flood.world) <= 1


def test_most_places_are_held_by_honest_peers(flooded: World) -> None:
    honest = {node.keys.peer_id for node in flooded.nodes}
    shares = [
        len(partners & honest) / len(partners)
        for node in flooded.nodes
        if (partners := neighbourhood(node.core).partners())
    ]
    assert len(shares) == HONEST
    assert min(shares) >= 12 / 16


def test_no_honest_peer_pays_for_what_it_passed_on(flooded: World) -> None:
    for node in flooded.nodes:
        for other in flooded.nodes:
            assert node.core.welcome(other.keys.peer_id, flooded.now)


def test_sybils_have_no_weight_together(flooded: World) -> None:
    honest = {node.keys.peer_id for node in flooded.nodes}
    for node in flooded.nodes:
        assert len(node.rounds) >= ROUNDS
        last = node.rounds[-1]
        assert sum(seen.weight for seen in last.seen if seen.peer not in honest) <= 0.05


def test_the_history_has_a_few_lines_about_a_thousand_identities(flooded: World) -> None:
    for node in flooded.nodes:
        assert sum(isinstance(record, Refusal | Note) for record in node.records) <= 40
