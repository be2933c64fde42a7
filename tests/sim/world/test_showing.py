"""Commit, then reveal, among simulated peers: honest ones lose nothing by it, whatever the network does."""

from __future__ import annotations

import pytest

from peers.core.events import NotPulled
from sim.world.conditions import Conditions, LinkConfig, TopologyConfig
from sim.world.world import World
from support.core_bench import RoundOptions
from support.worlds import COMPUTE, CONFIG, check, world_of
from trust.record.history import Refusal

TARGETS = ([1.0, 1, 1, 1],) * 4


def seen_by_all(world: World, *, since: int) -> list[int]:
    """How many current neighbours each round of each peer saw, from round `since` on, but for the last of each."""
    rounds = [record for node in world.nodes for record in node.rounds[since:-1]]
    return [sum(seen.age == 0 for seen in record.seen) for record in rounds]


@pytest.mark.parametrize("seed", range(3))
def test_equal_peers_see_each_others_present_rounds_although_questions_overtake_announcements(
    seed: int,
) -> None:
    world = world_of(*TARGETS, seed=seed, speeds=lambda _: 1.0, latency_s=0.05, jitter_s=0.2)
    world.run(seconds=30)
    check(world)
    seen = seen_by_all(world, since=1)
    assert len(seen) >= 60
    assert min(seen) == 3
    assert not [one for node in world.nodes for one in node.records if isinstance(one, Refusal)]


def test_unequal_peers_see_current_announcements_of_all() -> None:
    world = world_of(*TARGETS, speeds=lambda n: 1 + n, latency_s=0.05, jitter_s=0.05)
    world.run(seconds=60)
    check(world)
    slow = [sum(seen.age == 0 for seen in record.seen) for record in world.nodes[0].rounds[1:]]
    assert min(slow) == 3
    assert not [one for node in world.nodes for one in node.records if isinstance(one, Refusal)]


def test_with_a_barrier_every_round_is_of_all() -> None:
    rounds: RoundOptions = {**CONFIG, "barrier": True, "patience_s": 20.0}
    world = world_of(*TARGETS, speeds=lambda n: 1 + n, rounds=rounds, latency_s=0.05, jitter_s=0.2)
    world.run(seconds=60)
    check(world)
    # The fastest peer ends its first round before it has met anybody.
    records = [record for node in world.nodes for record in node.rounds[2:-1]]
    assert all({one.its_round for one in record.seen} == {record.round} for record in records)
    assert all(len(record.seen) == 3 for record in records)


def test_predictions_reach_peers_two_connections_away_from_their_author() -> None:
    conditions = Conditions(
        link=LinkConfig(latency_s=0.05, jitter_s=0.05),
        compute=COMPUTE,
        topology=TopologyConfig(kind="random", degree=2),
    )
    world = world_of(*TARGETS, *TARGETS, speeds=lambda _: 1.0, conditions=conditions)
    world.run(seconds=40)
    check(world)
    for node in world.nodes:
        assert len({seen.peer for record in node.rounds for seen in record.seen}) == 4


def test_a_late_joiner_and_a_restarted_peer_are_shown_what_the_others_predict() -> None:
    world = world_of(*TARGETS, speeds=lambda _: 1.0, start=False, latency_s=0.05, jitter_s=0.05)
    late = world.nodes[3]
    for node in world.nodes[:3]:
        world.start(node)
    world.run(seconds=20)
    world.start(late)
    world.run(seconds=20)
    assert all(len(record.seen) == 3 for record in late.rounds[:4])
    world.crash(world.nodes[0])
    world.run(seconds=5)
    rounds = len(world.nodes[0].rounds)
    world.start(world.nodes[0])
    world.run(seconds=20)
    check(world)
    again = world.nodes[0].rounds[rounds:]
    assert sum(len(record.seen) == 3 for record in again) >= len(again) // 2


def test_without_commitments_nobody_is_put_off() -> None:
    world = world_of(*TARGETS, rounds={**CONFIG, "guard": False}, latency_s=0.05, jitter_s=0.2)
    world.run(seconds=20)
    assert not [one for one in world.log if isinstance(one.event, NotPulled)]
