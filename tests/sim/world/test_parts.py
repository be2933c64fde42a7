"""Worlds in which peers train or send parts of an adapter: block windows, heads, unequal modules and ranks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, LearnerConfig
from gossipllm.config.choices import Missing, Sampling
from gossipllm.work import Train
from peers.core.config import NO_DEFENCE, CoreConfig, RoundConfig
from peers.core.effects import Pull
from sim.toy.adding import add_toy
from sim.toy.units import Form, context_key
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World
from support.worlds import check, published
from trust.record.history import Refusal
from trust.rows.rows import TrustConfig
from wire.codec import decode_announcement

TARGET = [1.0, 1.0, 1.0, 1.0]
COMPUTE = ComputeConfig(step_s=0.5, answer_s=0.0)


def world_of(
    *learners: LearnerConfig,
    form: Form = "split",
    seed: int = 0,
    guard: bool = True,
    speeds: Sequence[float] | None = None,
    **link: Any,
) -> World:
    """One peer for each learner; all have the same target and different leans."""
    world = World(seed=seed, conditions=Conditions(link=LinkConfig(**link), compute=COMPUTE), logged=True)
    rounds = RoundConfig(steps=2, patience_s=2.0, compare_every_s=5.0, guard=guard)
    for number, learner in enumerate(learners):
        config = CoreConfig(
            name=f"p{number}",
            round=rounds,
            learner=learner,
            trust=TrustConfig(strategy="uniform"),
            # What is merged of whom is the subject, and whether single neighbours help is not.
            defence=NO_DEFENCE,
        )
        lean = [0.3 * math.sin(number + axis) for axis in range(4)]
        speed = speeds[number] if speeds else 1 + number / 7
        add_toy(world, config, TARGET, lean=lean, form=form, speed=speed)
    world.begin()
    return world


def trains(world: World, node: SimulatedPeer) -> list[Train]:
    effects = [effect for one in world.log if one.peer == node.index for effect in one.effects]
    return [effect for effect in effects if isinstance(effect, Train)]


def units(bitmap: bytes) -> set[int]:
    return {n for n in range(4) if bitmap[0] >> n & 1} if bitmap else {0, 1, 2, 3}


def loss(node: SimulatedPeer) -> float:
    return node.rounds[-1].test_merged


def alone(form: Form, learner: LearnerConfig, *, seconds: float) -> float:
    world = world_of(learner, form=form)
    world.run(seconds=seconds)
    return loss(world.nodes[0])


# -- block windows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["importance", "uniform", "round-robin"])
@pytest.mark.parametrize("missing", ["renorm", "kept", "self"])
def test_every_block_is_trained_and_every_peer_learns_blocks_that_it_did_not_train(
    sampling: Sampling, missing: Missing
) -> None:
    layers = LayersConfig(count=1, sampling=sampling, missing=missing)
    world = world_of(*4 * [LearnerConfig(layers=layers)])
    world.run(seconds=80)
    for node in world.nodes:
        trained = Counter(block for train in trains(world, node) for block in units(train.units))
        assert set(trained) == {0, 1, 2, 3}
        assert all(len(units(train.units)) == 1 for train in trains(world, node))
    together = max(loss(node) for node in world.nodes)
    assert together < alone("split", LearnerConfig(layers=layers), seconds=80)
    check(world)


def test_peers_with_small_windows_large_windows_and_whole_adapters_merge() -> None:
    choices = [
        LearnerConfig(layers=LayersConfig(count=1)),
        LearnerConfig(layers=LayersConfig(count=3)),
        LearnerConfig(),
    ]
    world = world_of(*choices)
    world.run(seconds=40)
    for node, learner in zip(world.nodes, choices, strict=True):
        assert loss(node) < alone("split", learner, seconds=40)
        assert {seen.name for seen in node.rounds[-1].seen} == {"p0", "p1", "p2"} - {node.config.name}
        assert not [one for one in node.records if isinstance(one, Refusal)]
    check(world)


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_repeats_the_rounds_window_and_no_round_is_announced_with_two(seed: int) -> None:
    world = world_of(*3 * [LearnerConfig(layers=LayersConfig(count=2))], seed=seed, disk_s=0.1, loss=0.1)
    for crash in range(12):
        world.run(seconds=0.7 + crash / 10)
        node = world.nodes[crash % 3]
        world.crash(node)
        world.run(seconds=0.2)
        world.start(node)
    world.run(seconds=15)
    for node in world.nodes:
        windows: dict[int, set[bytes]] = {}
        for train in trains(world, node):
            windows.setdefault(train.round, set()).add(train.units)
        assert all(len(one) == 1 for one in windows.values()), "a round is of one window, however often begun"
        for frame in published(world, node):
            announced = decode_announcement(frame).announcement
            assert announced.offer.units in windows[announced.round]
    check(world)


def test_weak_peers_use_context_models_made_by_strong_ones() -> None:
    make = LearnerConfig(layers=LayersConfig(count=2, context="distil"))
    fetch = LearnerConfig(layers=LayersConfig(count=2, context="distil", contexts="fetch"))
    world = world_of(make, make, fetch)
    world.run(seconds=30)
    weak = world.nodes[2]
    done = trains(world, weak)[2:]
    with_one = [train for train in done if train.context is not None]
    assert len(with_one) >= 0.9 * len(done)
    for train in with_one:
        first = min(units(train.units))
        assert train.context is not None
        assert train.context.data == context_key(first) * 4, "the context is that of the window"
    assert all(train.context is None for node in world.nodes[:2] for train in trains(world, node))
    check(world)


def test_weak_peers_train_also_where_no_peer_makes_contexts() -> None:
    fetch = LearnerConfig(layers=LayersConfig(count=2, context="distil", contexts="fetch"))
    world = world_of(fetch, fetch)
    world.run(seconds=20)
    assert all(len(node.rounds) >= 10 for node in world.nodes)
    check(world)


# -- heads ------------------------------------------------------------------------------------------


def of_heads(**heads: Any) -> LearnerConfig:
    return LearnerConfig(adapter=AdapterConfig(train="heads"), heads=HeadsConfig(copies=1, **heads))


def test_heads_are_shared_out_and_every_peer_learns_all_of_them() -> None:
    world = world_of(*3 * [of_heads(epoch_rounds=2)], speeds=[1.0, 1.0, 1.0])
    world.run(seconds=40)
    by_round: dict[int, list[set[int]]] = {}
    for node in world.nodes:
        for train in trains(world, node)[3:]:
            by_round.setdefault(train.round, []).append(units(train.units))
        assert {unit for train in trains(world, node)[3:] for unit in units(train.units)} == {0, 1, 2, 3}
    full = [parts for parts in by_round.values() if len(parts) == 3]
    assert len(full) >= 20
    covered = sum(set[int]().union(*parts) == {0, 1, 2, 3} for parts in full)
    assert covered >= 0.9 * len(full), "in nearly every round every head is somebody's"
    trained = sum(len(part) for parts in full for part in parts)
    assert trained <= 6 * len(full), "nobody trains everything: four heads, and one for who owns none"
    together = max(loss(node) for node in world.nodes)
    assert together < alone("split", of_heads(epoch_rounds=2), seconds=40)
    check(world)


def test_heads_of_peers_that_left_are_taken_over() -> None:
    world = world_of(*3 * [of_heads()])
    world.run(seconds=15)
    survivor, *others = world.nodes
    for node in others:
        world.crash(node)
    world.run(seconds=30)
    assert units(trains(world, survivor)[-1].units) == {0, 1, 2, 3}
    check(world)


def test_twice_the_capacity_trains_about_twice_as_much() -> None:
    world = world_of(of_heads(capacity=300), of_heads(capacity=100), speeds=[1.0, 1.0])
    world.run(seconds=120)
    large, small = ([len(units(train.units)) for train in trains(world, node)[3:]] for node in world.nodes)
    assert sum(large) / len(large) > 1.8 * sum(small) / len(small)
    check(world)


# -- modules and ranks ------------------------------------------------------------------------------


def test_peers_with_other_modules_merge_what_they_have_in_common() -> None:
    choices = [
        LearnerConfig(adapter=AdapterConfig(modules=modules))
        for modules in (("w0", "w1"), ("w1", "w2"), ("w3",), ())
    ]
    world = world_of(*choices)
    world.run(seconds=30)
    heard = [{seen.name for seen in node.rounds[-1].seen} for node in world.nodes]
    assert heard == [{"p1", "p3"}, {"p0", "p3"}, {"p3"}, {"p0", "p1", "p2"}]
    for node in world.nodes:
        for record in node.records:
            if isinstance(record, Refusal):
                assert record.field == "offer.units"
    check(world)


def test_unequal_ranks_all_gain() -> None:
    choices = [LearnerConfig(adapter=AdapterConfig(rank=rank)) for rank in (2, 16, 8)]
    world = world_of(*choices, form="ranked")
    world.run(seconds=30)
    for node, learner in zip(world.nodes, choices, strict=True):
        assert loss(node) < alone("ranked", learner, seconds=30)
        assert len(node.rounds[-1].seen) == 2
    check(world)


def test_factor_averaging_refuses_peers_of_another_rank_once_each() -> None:
    """Two ranks with the factor mean, which needs equal ranks: updates reach peers of equal rank through the others."""
    choices = [LearnerConfig(adapter=AdapterConfig(rank=rank), merge="mean") for rank in (2, 2, 8, 8)]
    world = world_of(*choices, form="ranked")
    world.run(seconds=30)
    for node in world.nodes:
        mate = world.nodes[node.index ^ 1]
        assert {seen.peer for seen in node.rounds[-1].seen} == {mate.id}
        said = Counter((one.about, one.field) for one in node.records if isinstance(one, Refusal))
        strangers = {other.id for other in world.nodes} - {node.id, mate.id}
        assert said == {(stranger, "offer.rank"): 1 for stranger in strangers}
        assert len(node.rounds) >= 25
    pulled = [
        effect.size
        for one in world.log
        for effect in one.effects
        if isinstance(effect, Pull) and one.peer < 2
    ]
    assert len(set(pulled)) == 1, "nothing is fetched that cannot be used"
    check(world)
