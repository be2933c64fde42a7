"""The simulated network and devices: times, bandwidth, topology, cuts, churn, and bytes."""

from __future__ import annotations

from typing import Any

import pytest

from peers.core.config import CoreConfig, RoundConfig
from peers.core.effects import Greet, Publish, Pull
from peers.core.events import Connected, Heard, NotPulled, Pulled, Replied
from peers.core.round.stages import Resting
from sim.toy.adding import add_toy
from sim.toy.learner import EVIDENCE
from sim.world.conditions import ChurnConfig, ComputeConfig, Conditions, LinkConfig, TopologyConfig
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World
from support.core_bench import UNCONFIRMED

EXACT = LinkConfig(latency_s=0.1, jitter_s=0.0)
HERE = [1.0, 1.0, 0.0, 0.0]


def town(peers: int, *, rounds: int = 0, **conditions: Any) -> World:
    world = World(conditions=Conditions(**conditions), logged=True)
    config = RoundConfig(steps=20, rounds=rounds, patience_s=1e4, compare_every_s=5.0)
    for number in range(peers):
        lean = [0.1 * number, 0.0, 0.0, -0.1 * number]
        # Toys that have converged announce one update again and again, which is no news to a peer that confirms.
        core = CoreConfig(name=f"peer-{number}", round=config, defence=UNCONFIRMED)
        add_toy(world, core, HERE, lean=lean)
    world.begin()
    return world


def asked_and_got(world: World, node: SimulatedPeer) -> list[tuple[float, float]]:
    """Times at which this peer asked for each blob, and at which it came."""
    asked: dict[int, float] = {}
    times: list[tuple[float, float]] = []
    for one in world.log:
        if one.peer == node.index:
            asked |= {each.request: one.at for each in one.effects if isinstance(each, Pull)}
            if isinstance(one.event, Pulled):
                times.append((asked[one.event.request], one.at))
    return times


def heard_of(world: World, node: SimulatedPeer, other: SimulatedPeer) -> list[float]:
    """Times at which frames of `other` were given to the core of `node`, whichever peer sent them."""
    made = {
        each.frame
        for one in world.log
        if one.peer == other.index
        for each in one.effects
        if isinstance(each, Publish)
    }
    mine = [one for one in world.log if one.peer == node.index]
    return [one.at for one in mine if isinstance(one.event, Heard) and one.event.frame in made]


# -- time -------------------------------------------------------------------------------------------


def test_a_blob_takes_a_round_trip_and_its_size_over_the_bandwidth() -> None:
    world = town(2, link=LinkConfig(latency_s=0.1, jitter_s=0.0, bandwidth_bytes_s=800.0))
    world.run(seconds=100)
    times = asked_and_got(world, world.nodes[0])
    assert times
    # The fastest: the 6 bytes of toy predictions, while the uplink sends nothing else.
    assert min(got - asked for asked, got in times) == pytest.approx(0.2 + EVIDENCE.size / 800)


def test_without_a_limit_size_costs_no_time() -> None:
    world = town(2, link=EXACT)
    world.run(seconds=10)
    assert {round(got - asked, 9) for asked, got in asked_and_got(world, world.nodes[0])} == {0.2}


def test_an_uplink_sends_one_message_after_the_other() -> None:
    world = town(3, link=LinkConfig(latency_s=0.1, jitter_s=0.0, bandwidth_bytes_s=500.0))
    world.run(seconds=20)
    speaker, *listeners = world.nodes
    (first, size), *_ = [
        (one.at, len(each.frame))
        for one in world.log
        if one.peer == speaker.index
        for each in one.effects
        if isinstance(each, Publish)
    ]
    came = sorted(min(heard_of(world, one, speaker)) for one in listeners)
    assert came == pytest.approx([first + 0.1 + size / 500, first + 0.1 + 2 * size / 500])


def test_training_takes_its_steps_over_the_speed_and_says_so() -> None:
    world = town(3, compute=ComputeConfig(step_s=0.1, speeds=(1.0, 4.0)), link=EXACT)
    world.run(seconds=30)
    for node, seconds in zip(world.nodes, (2.0, 0.5, 2.0), strict=True):
        assert {one.train_s for one in node.rounds} == {seconds}


@pytest.mark.parametrize("barrier", [False, True])
def test_a_slow_peer_holds_the_others_only_at_a_barrier(barrier: bool) -> None:
    """The slow peer needs twenty times as long for its steps."""
    conditions = Conditions(compute=ComputeConfig(step_s=0.5, answer_s=0.0, speeds=(1.0, 1.0, 0.05)))
    world = World(conditions=conditions)
    for number in range(3):
        config = RoundConfig(steps=2, patience_s=1000.0, compare_every_s=5.0, barrier=barrier)
        add_toy(world, CoreConfig(name=f"peer-{number}", round=config), HERE)
    world.begin()
    world.run(seconds=220)
    *fast, slow = (len(node.rounds) for node in world.nodes)
    assert 7 <= slow <= 11
    if barrier:
        assert all(abs(rounds - slow) <= 1 for rounds in fast)
    else:
        assert all(rounds >= 7 * slow for rounds in fast)


# -- topology and cuts -------------------------------------------------------------------------------


def test_without_relay_frames_go_one_hop() -> None:
    ring = TopologyConfig(kind="random", degree=2, relay=False)
    world = World(conditions=Conditions(topology=ring), logged=True)
    for number in range(8):
        config = RoundConfig(steps=20, compare_every_s=3600.0)
        add_toy(world, CoreConfig(name=f"peer-{number}", round=config), HERE)
    world.begin()
    world.run(seconds=10)
    for node in world.nodes:
        for other in world.nodes:
            if other is not node:
                assert bool(heard_of(world, node, other)) == (other.id in node.links)


def test_with_relay_frames_reach_every_peer() -> None:
    world = town(8, topology=TopologyConfig(kind="random", degree=2))
    world.run(seconds=10)
    assert all(
        heard_of(world, one, other) for one in world.nodes for other in world.nodes if one is not other
    )


def test_peers_on_both_sides_of_a_cut_are_separated_and_later_merge_again() -> None:
    churn = ChurnConfig(cuts=("peer-0 peer-1 | peer-2 peer-3 from 10 to 40",))
    world = town(5, churn=churn)
    left, right, between = world.nodes[:2], world.nodes[2:4], world.nodes[4]
    world.run(seconds=9)
    assert all(other.id in one.links for one in left for other in right)
    world.run(seconds=21)
    assert not any(other.id in one.links for one in left for other in right)
    assert len(between.links) == 4
    assert all(one.rounds[-1].seen for one in world.nodes)
    world.run(seconds=30)
    assert all(other.id in one.links for one in left for other in right)
    for one in left:
        assert {other.id for other in right} <= {seen.peer for seen in one.rounds[-1].seen}


def test_cuts_that_overlap_heal_one_by_one() -> None:
    world = town(2, churn=ChurnConfig(cuts=("peer-0 | peer-1 from 1 to 5", "peer-0 | peer-1 from 3 to 9")))
    for until, linked in ((0.5, True), (2, False), (6, False), (10, True)):
        world.run(seconds=1_000_000 + until - world.now)
        assert bool(world.nodes[0].links) == linked


def test_a_cut_loses_messages_on_their_way() -> None:
    world = town(2, link=LinkConfig(latency_s=5.0, jitter_s=0.0, disk_s=0.0))
    one, other = world.nodes
    world.run(seconds=50, until=lambda: one.sent["announce"] > 0)
    world.cut(one, other)
    world.run(seconds=0.1)
    world.heal(one, other)
    received = other.received["announce"]
    world.cut(one, other)
    world.run(seconds=20)
    assert other.received["announce"] == received


# -- churn ------------ -----------------------------------------------------------------------------


def test_a_late_joiner_sees_all_peers_in_its_first_round() -> None:
    world = town(4, churn=ChurnConfig(late=("peer-3 at 30",)))
    *early, late = world.nodes
    world.run(seconds=29)
    assert not late.alive
    assert all(late.id not in one.links for one in early)
    world.run(seconds=10)
    assert late.life == 1
    assert {seen.peer for seen in late.rounds[0].seen} == {one.id for one in early}
    assert late.rounds[0].round == 0


def test_an_outage_ends_with_a_restart_from_disk() -> None:
    world = town(3, churn=ChurnConfig(outages=("peer-1 from 10 to 20",)))
    node = world.nodes[1]
    world.run(seconds=15)
    assert not node.alive
    before = node.core.round
    assert before > 0
    world.run(seconds=15)
    assert node.life == 2
    assert node.core.round > before
    assert node.beginnings[1] is not None


def test_outages_that_overlap_end_with_the_last() -> None:
    world = town(
        2, churn=ChurnConfig(outages=("peer-1 from 5 to 20", "peer-1 from 10 to 40"), late=("peer-1 at 7",))
    )
    alive: list[bool] = []
    for _ in range(5):
        world.run(seconds=10)
        alive.append(world.nodes[1].alive)
    assert alive == [False, False, False, True, True]


def test_random_crashes_do_not_depend_on_other_random_draws() -> None:
    churn = ChurnConfig(crashes_per_hour=100.0, downtime_s=5.0)
    one = town(4, churn=churn)
    other = town(4, churn=churn, link=LinkConfig(loss=0.3))
    for world in (one, other):
        world.run(seconds=300)
    assert [node.life for node in one.nodes] == [node.life for node in other.nodes]
    assert sum(node.life for node in one.nodes) > 15


# -- bytes ------------------------------------------------------------------------------------------


def test_without_loss_all_bytes_sent_are_received() -> None:
    world = town(6, rounds=4, topology=TopologyConfig(kind="random", degree=4))
    world.run(seconds=100, until=lambda: all(isinstance(node.core.stage, Resting) for node in world.nodes))
    world.run(seconds=4)
    for kind in ("announce", "blob", "known"):
        sent = sum(node.sent[kind] for node in world.nodes)
        assert sent == sum(node.received[kind] for node in world.nodes) > 0


def test_bytes_of_each_kind_are_those_of_its_messages() -> None:
    world = town(2, rounds=3)
    world.run(seconds=30)
    one, other = world.nodes
    frames = [e.frame for h in world.log if h.peer == 0 for e in h.effects if isinstance(e, Publish)]
    greetings = [e.greeting for h in world.log if h.peer == 0 for e in h.effects if isinstance(e, Greet)]
    replies = [h.event.reply for h in world.log if h.peer == 1 and isinstance(h.event, Replied)]
    blobs = [h.event.content for h in world.log if h.peer == 1 and isinstance(h.event, Pulled)]
    assert one.sent["announce"] == sum(map(len, frames)) == other.received["announce"]
    assert one.sent["known"] == sum(map(len, (*greetings, *replies)))
    assert one.sent["blob"] == sum(content.size for content in blobs) == other.received["blob"]
    assert one.history[-1].traffic.sent["blob"] == one.sent["blob"]


def test_a_lost_message_counts_as_sent_and_not_as_received() -> None:
    world = town(3, link=LinkConfig(loss=0.2))
    world.run(seconds=60)
    sent = sum(node.sent["announce"] for node in world.nodes)
    assert 0.7 * sent < sum(node.received["announce"] for node in world.nodes) < 0.9 * sent


def test_a_pull_always_ends() -> None:
    """With half of all messages lost, and holders of blobs crashing."""
    world = town(4, link=LinkConfig(loss=0.5), churn=ChurnConfig(crashes_per_hour=300.0, downtime_s=3.0))
    world.run(seconds=100)
    asked = {
        (h.peer, h.life, e.request)
        for h in world.log
        for e in h.effects
        if isinstance(e, Pull) and h.at < world.now - 3
    }
    ended = {(h.peer, h.life, h.event.request) for h in world.log if isinstance(h.event, Pulled | NotPulled)}
    died = {(node.index, life) for node in world.nodes for life in range(1, node.life)}
    died |= {(node.index, node.life) for node in world.nodes if not node.alive}
    assert {one for one in asked - ended if one[:2] not in died} == set()
    assert len(ended) > 50


# -- connections ------------------------------------------------------------------------------------


def test_peers_learn_the_address_group_of_a_neighbour_and_who_dialled() -> None:
    """Every peer has a group of its own unless the world is told otherwise."""
    world = World(logged=True)
    for name, group in (("anna", None), ("bert", None), ("carl", "v4:10.9.9.9")):
        add_toy(world, CoreConfig(name=name), HERE, group=group)
    world.begin()
    world.run(seconds=5.0)
    told = {(one.peer, one.event.peer): one.event for one in world.log if isinstance(one.event, Connected)}
    anna, bert, carl = world.nodes
    assert told[carl.index, anna.id].group == anna.group != bert.group
    assert told[anna.index, carl.id].group == "v4:10.9.9.9"
    assert told[carl.index, anna.id].outbound
    assert not told[anna.index, carl.id].outbound
