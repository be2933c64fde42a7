"""Worlds of many cores: learning, lossy networks, crashes and churn, with invariants over all peers."""

from __future__ import annotations

import random

import pytest

from peers.core.events import LearnerLost, Misbehaved
from peers.core.round.stages import Resting
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World
from support.worlds import check, knows, world_of

NORTH = [3.0, 0.0, 0.0, 0.0]
SOUTH = [0.0, 0.0, 0.0, 3.0]


def share(node: SimulatedPeer, group: list[SimulatedPeer], *, rounds: slice) -> float:
    """Mean over rounds of the weight that a peer gives to the group, without itself."""
    ids = {one.keys.peer_id for one in group}
    records = node.rounds[rounds]
    return sum(seen.weight for one in records for seen in one.seen if seen.peer in ids) / len(records)


# -- learning ---------------------------------------------------------------------------------------


def test_peers_give_their_weight_to_peers_with_the_same_target() -> None:
    world = world_of(*3 * [NORTH], *3 * [SOUTH])
    world.run(seconds=40)
    north, south = world.nodes[:3], world.nodes[3:]

    for own, other in ((north, south), (south, north)):
        for node in own:
            mine = share(node, [one for one in own if one is not node], rounds=slice(2, None))
            theirs = share(node, other, rounds=slice(2, None))
            assert mine >= 0.05, f"{node.config.name} learns nothing"
            assert mine >= 2 * theirs, f"{node.config.name}: {mine} to its own, {theirs} across"
    check(world)


def test_peers_together_get_nearer_to_their_target_than_alone() -> None:
    together = world_of(*4 * [NORTH])
    together.run(seconds=30)
    alone = world_of(NORTH)
    alone.run(seconds=30)
    assert together.nodes[0].rounds[-1].test_merged < 0.8 * alone.nodes[0].rounds[-1].test_merged


def test_a_peer_alone_trains_without_a_wait() -> None:
    world = world_of(NORTH)
    world.run(seconds=60)
    (node,) = world.nodes
    assert len(node.rounds) >= 55
    assert {one.guard for one in node.rounds} == {"alone"}
    assert sum(one.gather_s for one in node.rounds) == 0
    check(world)


def test_a_fast_peer_is_not_held_to_the_pace_of_a_slow_one() -> None:
    """It is ten times as fast alone; beside the slow peer it waits at most as long as it works."""
    world = world_of(NORTH, NORTH, speeds=lambda n: [1.0, 0.05][n], rounds={"patience_s": 1000.0})
    world.run(seconds=200)
    fast, slow = world.nodes
    assert len(fast.rounds) >= 90
    assert len(slow.rounds) >= 7
    assert any(seen.weight > 0 for one in slow.rounds for seen in one.seen), "the slow one hears the fast one"
    check(world)


def test_after_its_last_round_every_peer_rests_and_knows_all_last_updates() -> None:
    world = world_of(*4 * [NORTH], rounds={"rounds": 5})
    world.run(seconds=60)
    for node in world.nodes:
        assert isinstance(node.core.stage, Resting)
        assert [one.round for one in node.rounds] == list(range(5))
    check(world)


# -- bad networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.1, 0.3])
@pytest.mark.parametrize("seed", [1, 2])
def test_lost_messages_stop_no_peer(loss: float, seed: int) -> None:
    world = world_of(*5 * [NORTH], seed=seed, loss=loss)
    world.run(seconds=60)
    for node in world.nodes:
        assert len(node.rounds) >= 15
        heard = {seen.peer for one in node.rounds[-5:] for seen in one.seen}
        assert len(heard) == 4, f"{node.config.name} hears {heard}"
    check(world)


def test_after_a_partition_heals_every_peer_knows_the_latest_update_of_all() -> None:
    world = world_of(*4 * [NORTH])
    world.run(seconds=10)
    left, right = world.nodes[:2], world.nodes[2:]
    for one in left:
        for other in right:
            world.cut(one, other)
    world.run(seconds=60)
    assert all(
        not {seen.peer for seen in one.rounds[-1].seen} & {o.keys.peer_id for o in right} for one in left
    )

    for one in left:
        for other in right:
            world.heal(one, other)
    before = [node.core.round for node in world.nodes]
    world.run(seconds=3)

    for node in world.nodes:
        for other, round_ in zip(world.nodes, before, strict=True):
            if other is not node:
                assert knows(node, other) >= round_ - 1
    check(world)


def test_a_late_joiner_is_useful_within_two_of_its_rounds() -> None:
    world = world_of(*4 * [NORTH], start=False)
    *veterans, joiner = world.nodes
    for node in veterans:
        world.start(node)
    world.run(seconds=60)
    world.start(joiner)
    world.run(seconds=60, until=lambda: len(joiner.rounds) >= 2)

    for one in joiner.rounds:
        assert {seen.peer for seen in one.seen} == {node.keys.peer_id for node in veterans}
    assert any(seen.weight > 0 for seen in joiner.rounds[1].seen)
    assert joiner.rounds[0].round == 0
    check(world)


# -- crashes and churn ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_no_crash_makes_a_peer_announce_a_round_twice_or_go_back(seed: int) -> None:
    """30 crashes a seed at random times: while training, saving, gathering, merging or starting."""
    rng = random.Random(seed)
    world = world_of(*3 * [NORTH], seed=seed, speeds=lambda n: 2 + n, disk_s=0.1)
    committed = dict.fromkeys(range(3), 0)
    for _ in range(30):
        world.run(seconds=rng.uniform(0.0, 1.5))
        node = world.nodes[rng.randrange(3)]
        world.crash(node)
        on_disk = node.disk.round if node.disk else 0
        assert on_disk >= committed[node.index], f"seed {seed}: {node.config.name} went back"
        committed[node.index] = on_disk
        world.run(seconds=rng.choice([0.0, 0.02, 0.5]))
        world.start(node)
    world.run(seconds=20)

    for node in world.nodes:
        resumed = [one.round for one in node.rounds]
        assert resumed == sorted(resumed)
        assert set(resumed) == set(range(resumed[-1] + 1)), "no round is left out"
        assert resumed[-1] >= 10
    check(world)


def test_a_crash_at_every_event_of_a_round() -> None:
    """Crashes just before each event of a peer's first rounds, one world for each event."""

    def world_until(events: int) -> World:
        world = world_of(NORTH, NORTH, disk_s=0.1)
        node = world.nodes[0]
        world.run(seconds=20, until=lambda: sum(one.peer == 0 for one in world.log) >= events)
        world.crash(node)
        world.run(seconds=0.3)
        world.start(node)
        world.run(seconds=8)
        return world

    for events in range(40):
        world = world_until(events)
        assert world.nodes[0].core.round >= 2, f"crash after {events} events"
        check(world)


def test_a_learner_that_dies_at_any_event_is_revived_and_the_round_goes_on() -> None:
    for events in range(30):
        world = world_of(NORTH, NORTH, disk_s=0.1)
        world.run(seconds=20, until=lambda w=world, n=events: sum(one.peer == 0 for one in w.log) >= n)
        world.tell(world.nodes[0], LearnerLost(why="killed"))
        world.run(seconds=12)
        assert world.nodes[0].core.round >= 3, f"death after {events} events"
        check(world)


def test_half_of_all_peers_come_and_go() -> None:
    rng = random.Random(5)
    world = world_of(*8 * [NORTH], seed=5, rounds={"patience_s": 1.0})
    for _ in range(10):
        gone = rng.sample(world.nodes, 4)
        for node in gone:
            world.crash(node)
        world.run(seconds=2)
        for node in gone:
            world.start(node)
        world.run(seconds=1)
    world.run(seconds=6)

    for node in world.nodes:
        assert node.core.round >= 10
        assert len(node.rounds[-1].seen) >= 5
    check(world)


def test_the_last_living_peer_goes_on() -> None:
    world = world_of(*5 * [NORTH])
    world.run(seconds=10)
    survivor, *others = world.nodes
    for node in others:
        world.crash(node)
    before = survivor.core.round
    world.run(seconds=20)
    assert survivor.core.round >= before + 15
    assert survivor.rounds[-1].seen == ()
    check(world)


# -- the world itself -------------------------------------------------------------------------------


def test_a_dropped_connection_ends_at_both_ends() -> None:
    world = world_of(NORTH, NORTH)
    world.run(seconds=5)
    one, other = world.nodes
    world.tell(one, Misbehaved(peer=other.keys.peer_id, field="test", why="test", fine=-100.0))
    world.run(seconds=5)
    heard = len(one.rounds)
    assert list(other.core._connections.peers) == []
    world.crash(other)
    world.start(other)
    world.run(seconds=5)
    assert one.rounds[-1].seen == other.rounds[-1].seen == ()
    assert len(one.rounds) > heard


def test_a_world_without_progress_raises() -> None:
    world = world_of(NORTH)
    with pytest.raises(RuntimeError, match="more than 10 events"):
        world.run(seconds=60, most=10)


def test_time_passes_without_events() -> None:
    world = World()
    began = world.now
    world.run(seconds=60)
    assert world.now == began + 60
