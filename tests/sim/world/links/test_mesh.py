"""Frames travel along GossipSub's mesh: few copies, to every peer, and lost ones are asked for."""

from __future__ import annotations

from peers.core.config import CoreConfig, RoundConfig
from peers.core.effects import Publish
from peers.core.events import Heard
from peers.core.round.stages import Resting
from peers.gossip_degrees import DEGREE, DEGREE_HIGH, DEGREE_LOW
from sim.toy.adding import add_toy
from sim.world.world import World
from support.core_bench import UNCONFIRMED


def crowd(peers: int, *, rounds: int = 1) -> World:
    """Peers that are all connected with all, and announce once or oftener."""
    world = World(logged=True)
    config = RoundConfig(steps=20, rounds=rounds, patience_s=1.0, compare_every_s=3600.0)
    for number in range(peers):
        core = CoreConfig(name=f"peer-{number}", round=config, defence=UNCONFIRMED)
        add_toy(world, core, [float(number), 1.0, 0.0, 0.0])
    world.begin()
    return world


def rested(world: World) -> World:
    world.run(seconds=60, until=lambda: all(isinstance(node.core.stage, Resting) for node in world.nodes))
    world.run(seconds=8)
    return world


def heard(world: World) -> set[tuple[int, bytes]]:
    return {(one.peer, one.event.frame) for one in world.log if isinstance(one.event, Heard)}


def frames(world: World) -> dict[bytes, int]:
    """Each announced frame and its author."""
    return {each.frame: one.peer for one in world.log for each in one.effects if isinstance(each, Publish)}


def test_a_mesh_has_a_bounded_degree_and_both_ends_know_of_each_link() -> None:
    world = rested(crowd(30))
    for node in world.nodes:
        assert DEGREE_LOW <= len(node.mesh) <= DEGREE_HIGH
        assert all(other.mesh[node.id] is node for other in node.mesh.values())


def test_a_frame_reaches_every_peer_in_about_as_many_copies_as_a_mesh_has_neighbours() -> None:
    world = rested(crowd(30))
    made = frames(world)
    assert heard(world) == {
        (node.index, frame) for node in world.nodes for frame, author in made.items() if node.index != author
    }
    copies = sum(node.sent["announce"] for node in world.nodes) / (sum(map(len, made)) * len(world.nodes))
    assert DEGREE_LOW - 1 <= copies <= DEGREE + 2


def test_in_a_full_mesh_every_peer_passes_each_frame_on_to_all_but_its_author_and_its_source() -> None:
    world = rested(crowd(5))
    sent = sum(node.sent["announce"] for node in world.nodes)
    assert sent == sum(map(len, frames(world))) * (4 + 4 * 3)


def test_frames_that_are_lost_in_the_mesh_come_from_neighbours_outside_it() -> None:
    world = crowd(30, rounds=2)
    world.run(seconds=60, until=lambda: all(node.sent["announce"] for node in world.nodes))
    deaf, *_ = world.nodes
    before = frames(world)
    for other in deaf.mesh.values():
        world.network.silence(other, deaf)
    rested(world)
    later = {frame for frame, author in frames(world).items() if frame not in before and author != deaf.index}
    got = {frame for peer, frame in heard(world) if peer == deaf.index}
    assert len(later) >= 25
    assert later <= got


def test_the_lots_of_the_mesh_are_those_of_the_seed() -> None:
    one, other = rested(crowd(20)), rested(crowd(20))
    assert [list(node.mesh) for node in one.nodes] == [list(node.mesh) for node in other.nodes]
    assert one.trace == other.trace
