"""Peers that are of no use to each other: what they still spend on each other, and what makes them ask again."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest

from gossipllm.config import DataConfig, TrainingConfig
from gossipllm.learning.measuring.confirming import LEAST_WINDOWS, TRIAL_WINDOWS
from gossipllm.work import Confirm, Evaluate, Train, Weigh
from peers.core.asking import LONGEST_PAUSE
from peers.core.config import CoreConfig, DefenceConfig, RoundConfig
from peers.core.effects import Pull
from sim.toy.adding import add_toy
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World
from support.core_bench import RoundOptions
from support.worlds import check, world_of
from trust.record.history import Note

TARGETS = ([9.0, 0, 0, 0], [0, 9.0, 0, 0], [0, 0, 9.0, 0], [0, 0, 0, 9.0])
AT_A_BARRIER: RoundOptions = {"steps": 2, "patience_s": 20.0, "compare_every_s": 5.0, "barrier": True}
EFFECTS = (Train, Weigh, Confirm, Evaluate, Pull)


def spent(world: World, node: SimulatedPeer) -> list[Counter[type]]:
    """How many of which questions and fetches each round of a peer took, from its local steps on."""
    rounds: list[Counter[type]] = []
    for one in world.log:
        for effect in one.effects if one.peer == node.index else ():
            if isinstance(effect, Train):
                rounds.append(Counter())
            if isinstance(effect, EFFECTS):
                rounds[-1][type(effect)] += 1
    return rounds


def asking(world: World, node: SimulatedPeer) -> list[int]:
    return [number for number, one in enumerate(spent(world, node)) if one[Confirm]]


def unrelated(rounds: RoundOptions | None = None) -> World:
    return world_of(*TARGETS, speeds=lambda _: 1.0, rounds=rounds, defence=DefenceConfig(), latency_s=0.05)


@pytest.mark.parametrize("rounds", [None, AT_A_BARRIER])
def test_who_gains_nothing_asks_more_and_more_seldom(rounds: RoundOptions | None) -> None:
    world = unrelated(rounds)
    world.run(seconds=45)
    check(world)
    for node in world.nodes:
        assert len(node.rounds) > 35
        gaps = [later - sooner for sooner, later in pairwise(asking(world, node))]
        # A round whose neighbours were not fetched in time is no answer: the next one asks again.
        assert all(pause < gap <= pause + 3 for pause, gap in zip((4, 8, 16), gaps[-3:], strict=True))


def test_a_round_that_asks_nobody_costs_its_local_steps_alone() -> None:
    world = unrelated()
    world.run(seconds=45)
    quiet = [
        one
        for node in world.nodes
        for one, before in zip(spent(world, node)[1:-1], node.rounds, strict=False)
        if before.asks_in
    ]
    assert len(quiet) > 4 * 25
    assert all(one == Counter({Train: 1}) for one in quiet)


def test_at_a_barrier_who_asks_nobody_keeps_in_step() -> None:
    world = unrelated(AT_A_BARRIER)
    world.nodes[0].speed = 0.5
    world.run(seconds=60)
    rounds = [len(node.rounds) for node in world.nodes]
    assert max(rounds) - min(rounds) <= 1


def test_after_ten_rounds_unrelated_peers_spend_at_most_5_percent_more_than_alone() -> None:
    """By the default settings, in windows through the model, forward and backward; with sixteen neighbours, as many as
    a round tries."""
    world = unrelated()
    world.run(seconds=110)
    training, data, steps = TrainingConfig(), DataConfig(), RoundConfig().steps
    alone = 2 * steps * training.batch_windows + data.trust_windows
    trials = max(TRIAL_WINDOWS, 16 * LEAST_WINDOWS)
    for node in world.nodes:
        rounds = spent(world, node)[10:]
        extra = sum(one[Confirm] * trials + one[Evaluate] * 5 * data.trust_windows for one in rounds)
        assert len(rounds) > LONGEST_PAUSE
        assert 0 < extra <= 0.05 * alone * len(rounds)


def test_a_newcomer_that_helps_is_found_within_some_rounds() -> None:
    world = unrelated()
    world.run(seconds=45)
    first = world.nodes[0]
    assert first.rounds[-1].asks_in > 10
    before = len(first.rounds)
    config = CoreConfig(name="relative", round=RoundConfig(steps=2, patience_s=2.0, compare_every_s=5.0))
    relative = add_toy(world, config, [9.0, 0, 0, 0], lean=[-0.5 * math.sin(axis) for axis in range(4)])
    world.start(relative)
    world.run(seconds=20)
    weights = [
        seen.weight for record in first.rounds[before:] for seen in record.seen if seen.name == "relative"
    ]
    assert weights
    assert max(weights) > 0


def test_a_restart_does_not_end_a_pause() -> None:
    world = unrelated()
    world.run(seconds=45)
    node = world.nodes[0]
    left = node.rounds[-1].asks_in
    assert left > 3
    world.crash(node)
    world.start(node)
    world.run(seconds=2)
    assert node.rounds[-1].asks_in < left
    assert not node.rounds[-1].seen


def test_people_are_told_once_when_a_pause_begins() -> None:
    world = unrelated()
    world.run(seconds=45)
    for node in world.nodes:
        told = [
            one.text for one in node.records if isinstance(one, Note) and "nobody here helps you" in one.text
        ]
        assert len(told) == len(asking(world, node)) - DefenceConfig().fruitless + 1
        assert "alone you are at" in told[0]
