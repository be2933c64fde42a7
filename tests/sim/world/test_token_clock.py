"""Worlds whose peers share a learning-rate schedule over the network's token clock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from gossipllm.config import LearnerConfig, TrainingConfig
from gossipllm.work import Train
from peers.core.config import CoreConfig, RoundConfig
from sim.toy.adding import add_toy
from sim.world.conditions import ComputeConfig, Conditions
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World
from support.worlds import check
from trust.record.history import Round
from trust.rows.token_clock import CAP, FINAL_SHARE, share_at

LENGTH = 40_000
TOKENS = 10
"""Of a step, of which a round has two."""
SPEEDS = (1.0, 2.0, 4.0, 8.0)


def world_of(speeds: Sequence[float], *, length: int = LENGTH, seed: int = 0) -> World:
    world = World(
        seed=seed, conditions=Conditions(compute=ComputeConfig(step_s=0.5, answer_s=0.0)), logged=True
    )
    for number, speed in enumerate(speeds):
        add_peer(world, number, speed, length=length)
    world.begin()
    return world


def add_peer(
    world: World, number: int, speed: float, *, tokens: int = TOKENS, length: int = LENGTH
) -> SimulatedPeer:
    config = CoreConfig(
        name=f"p{number}",
        round=RoundConfig(steps=2, patience_s=2.0, compare_every_s=5.0, network_tokens=length),
    )
    lean = [0.5 * (axis == number % 4) for axis in range(4)]
    return add_toy(world, config, [1.0] * 4, lean=lean, speed=speed, tokens=tokens)


def clock_of(record: Round) -> int:
    return 0 if isinstance(record.clock, msgspec.UnsetType) else record.clock


def trained_tokens(node: SimulatedPeer) -> int:
    return sum(record.tokens for record in node.rounds)


def test_unequal_devices_read_one_clock_and_train_at_one_rate() -> None:
    world = world_of(SPEEDS)
    world.run(seconds=200)
    last = [node.rounds[-1] for node in world.nodes]
    whole = sum(trained_tokens(node) for node in world.nodes)
    for record in last:
        assert 0.9 * whole <= clock_of(record) <= whole
        assert record.rate == pytest.approx(share_at(clock_of(record), LENGTH))
    assert max(one.rate for one in last) - min(one.rate for one in last) < 0.02
    check(world)


def test_the_rate_ends_at_its_share_and_stays_there() -> None:
    world = world_of((1.0, 1.0), length=400)
    world.run(seconds=100)
    assert [node.rounds[-1].rate for node in world.nodes] == pytest.approx([FINAL_SHARE] * 2)


def test_a_late_joiner_enters_at_the_present_place() -> None:
    world = world_of(SPEEDS)
    world.run(seconds=150)
    late = add_peer(world, 4, 1.0)
    world.start(late)
    world.run(seconds=20)
    others = [node.rounds[-1].rate for node in world.nodes[:4]]
    assert late.rounds[1].rate == pytest.approx(sum(others) / 4, abs=0.05)
    assert late.rounds[-1].rate == pytest.approx(sum(others) / 4, abs=0.02)
    assert trained_tokens(late) < 0.2 * trained_tokens(world.nodes[0])


def test_a_peer_that_claims_more_text_than_there_is_counts_as_one_fast_device() -> None:
    world = world_of((1.0, 1.0, 1.0, 1.0))
    liar = add_peer(world, 4, 1.0, tokens=2**40)
    world.start(liar)
    world.run(seconds=200)
    honest = world.nodes[:4]
    whole, most = sum(map(trained_tokens, honest)), max(map(trained_tokens, honest))
    for node in honest:
        assert clock_of(node.rounds[-1]) <= whole + CAP * most


def test_the_clock_never_goes_back_over_crashes_and_departures() -> None:
    world = world_of(SPEEDS)
    for _ in range(4):
        world.run(seconds=30)
        world.crash(world.nodes[0])
        world.crash(world.nodes[3])
        world.run(seconds=5)
        world.start(world.nodes[0])
    for node in world.nodes:
        clocks = [clock_of(record) for record in node.rounds]
        assert clocks == sorted(clocks)
        assert clocks[-1] > 0
    check(world)


def test_without_a_schedule_there_is_no_clock_and_the_rate_is_whole() -> None:
    world = world_of((1.0, 2.0), length=0)
    world.run(seconds=20)
    records = [record for node in world.nodes for record in node.rounds]
    assert {record.rate for record in records} == {1.0}
    assert all(isinstance(record.clock, msgspec.UnsetType) for record in records)
    asked = [one for entry in world.log for one in entry.effects if isinstance(one, Train)]
    assert {one.rate for one in asked} == {1.0}


def test_two_schedules_of_one_rate_are_refused() -> None:
    training = TrainingConfig(decay_steps=100)
    with pytest.raises(
        ValueError, match=r"round\.network_tokens and training\.decay_steps are both a schedule"
    ):
        CoreConfig(name="p", round=RoundConfig(network_tokens=1), learner=LearnerConfig(training=training))
    with pytest.raises(ValueError, match="network_tokens must be in"):
        RoundConfig(network_tokens=-1)
