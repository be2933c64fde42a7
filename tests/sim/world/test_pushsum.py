"""Worlds with push-sum: mass is conserved, and all peers converge to the mean weighted by tokens."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from gossipllm.config import LearnerConfig, TrainingConfig
from peers.core.config import CoreConfig, RoundConfig
from peers.core.effects import Store
from peers.core.events import Heard
from sim.toy.adding import add_toy
from sim.toy.learner import STEP, ToyLearner
from sim.toy.mass import ToyMass
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig, TopologyConfig
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World
from support.worlds import published
from trust.rows.rows import TrustConfig

STEPS = 2
TOKENS = (1, 2, 5, 9)


def world_of(
    *tokens: int,
    seed: int = 0,
    busy: int = 1,
    topology: TopologyConfig | None = None,
    training: TrainingConfig | None = None,
    start: bool = True,
    **link: Any,
) -> World:
    """One peer for each number of tokens, with targets that differ and lie near 1."""
    conditions = Conditions(
        link=LinkConfig(**link),
        compute=ComputeConfig(step_s=0.5, answer_s=0.0),
        topology=topology or TopologyConfig(),
    )
    world = World(seed=seed, conditions=conditions, logged=True)
    learner = LearnerConfig(mixing="push-sum", training=training or TrainingConfig())
    rounds = RoundConfig(steps=STEPS, patience_s=2.0, compare_every_s=5.0)
    for number, count in enumerate(tokens):
        config = CoreConfig(
            name=f"p{number}", round=rounds, learner=learner, trust=TrustConfig(strategy="uniform")
        )
        add_toy(world, config, target(number), tokens=count, busy=busy, speed=1 + number / 7)
    if start:
        world.begin()
    return world


def target(number: int) -> list[float]:
    return [1.0 + number / 10, 1.0, 1.0 - number / 20, 2.0]


def learner_of(node: SimulatedPeer) -> ToyLearner:
    assert isinstance(node.learner, ToyLearner)
    return node.learner


def mass_of(node: SimulatedPeer) -> ToyMass:
    mass = learner_of(node).mass
    assert mass is not None
    return mass


def mean_of(nodes: list[SimulatedPeer]) -> list[float]:
    """The mean that push-sum converges to: all mass that the peers added over all weight that they added."""
    *numerators, denominator = (
        sum(axis) for axis in zip(*(mass_of(one).added for one in nodes), strict=True)
    )
    return [number / denominator for number in numerators]


def agree(nodes: list[SimulatedPeer], mean: list[float], *, within: float = 1e-6) -> None:
    for node in nodes:
        assert mass_of(node).estimate() == pytest.approx(mean, abs=within), node.config.name


def check_mass(world: World) -> None:
    """Mass is conserved: received totals are ones that the sender stored, and mass held and in flight is all added."""
    announced: dict[tuple[str, str, int], bytes] = {}
    for one in world.log:
        for effect in one.effects:
            if isinstance(effect, Store):
                for share in effect.saved.shares:
                    key = world.nodes[one.peer].id, share.peer, share.round
                    assert announced.setdefault(key, share.content.data) == share.content.data
    by_id = {node.id: node for node in world.nodes}
    in_flight = [0] * 5
    for node in world.nodes:
        mass = mass_of(node)
        for sender, edge in mass.received.items():
            if edge.round >= 0:
                told = struct.unpack("<5Q", announced[sender, node.id, edge.round])
                assert tuple(total % 2**64 for total in edge.total) == told
            assert sender in by_id
        for receiver, edge in mass.sent.items():
            arrived = mass_of(by_id[receiver]).received.get(node.id)
            arrived_total = arrived.total if arrived else [0] * 5
            missing = [sent - received for sent, received in zip(edge.total, arrived_total, strict=True)]
            assert all(number >= 0 for number in missing), "more came than was ever sent"
            in_flight = [sum(pair) for pair in zip(in_flight, missing, strict=True)]
    for axis in range(5):
        held = sum(mass_of(node).held[axis] for node in world.nodes)
        assert held + in_flight[axis] == sum(mass_of(node).added[axis] for node in world.nodes)


def test_all_peers_converge_to_the_mean_weighted_by_tokens() -> None:
    world = world_of(*TOKENS)
    world.run(seconds=40)
    moved = 1 - (1 - STEP) ** STEPS
    expected = [
        sum(count * moved * target(n)[axis] for n, count in enumerate(TOKENS)) / sum(TOKENS)
        for axis in range(4)
    ]
    agree(world.nodes, expected)
    check_mass(world)


def test_weighted_by_sequences_all_peers_count_alike() -> None:
    world = world_of(*TOKENS, training=TrainingConfig(reduction="sequences"))
    world.run(seconds=40)
    moved = 1 - (1 - STEP) ** STEPS
    agree(world.nodes, [moved * sum(target(n)[axis] for n in range(4)) / 4 for axis in range(4)])
    check_mass(world)


def test_records_of_push_sum_have_no_trust_weights() -> None:
    world = world_of(*TOKENS)
    world.run(seconds=10)
    for node in world.nodes:
        for record in node.rounds:
            assert record.self_weight == 1.0
            assert all(seen.weight == 0 for seen in record.seen)
        assert node.rounds[-1].absorbed == 3
        assert len(node.rounds) >= 8


@pytest.mark.parametrize("seed", range(4))
def test_lost_messages_lose_no_mass(seed: int) -> None:
    world = world_of(*TOKENS, seed=seed, loss=0.3)
    world.run(seconds=90)
    agree(world.nodes, mean_of(world.nodes))
    check_mass(world)


@pytest.mark.parametrize("seed", range(6))
def test_crashes_and_repeated_frames_lose_no_mass(seed: int) -> None:
    rng = random.Random(seed)
    world = world_of(*TOKENS, seed=seed, busy=5, disk_s=0.1, loss=0.1)
    for _ in range(25):
        world.run(seconds=rng.uniform(0.0, 1.5))
        node = world.nodes[rng.randrange(4)]
        world.crash(node)
        world.run(seconds=rng.choice([0.0, 0.02, 0.5]))
        world.start(node)
        for frame in published(world, rng.choice(world.nodes))[-5:]:
            world.tell(node, Heard(frame=frame, via="a relay"))
    world.run(seconds=90)
    agree(world.nodes, mean_of(world.nodes))
    check_mass(world)
    for node in world.nodes:
        assert [one.round for one in node.rounds] == sorted(one.round for one in node.rounds)
        assert all(node.core.welcome(other.id, world.now) for other in world.nodes if other is not node)


def test_halves_of_a_cut_network_agree_and_after_healing_all_peers_do() -> None:
    world = world_of(*TOKENS)
    world.run(seconds=3)
    for one in world.nodes[:2]:
        for other in world.nodes[2:]:
            world.cut(one, other)
    world.run(seconds=30)
    halves = [mass_of(node).estimate()[0] for node in world.nodes]
    assert halves[0] == pytest.approx(halves[1], abs=1e-6)
    assert halves[2] == pytest.approx(halves[3], abs=1e-6)
    for one in world.nodes[:2]:
        for other in world.nodes[2:]:
            world.heal(one, other)
    world.run(seconds=60)
    agree(world.nodes, mean_of(world.nodes))
    check_mass(world)


def test_more_neighbours_than_shares_are_reached_in_turn() -> None:
    world = world_of(*range(1, 13))
    world.run(seconds=40)
    agree(world.nodes, mean_of(world.nodes))
    check_mass(world)


def test_peers_of_a_sparse_graph_converge_too() -> None:
    world = world_of(*range(1, 9), topology=TopologyConfig(kind="random", degree=3))
    world.run(seconds=70)
    agree(world.nodes, mean_of(world.nodes), within=1e-5)
    check_mass(world)


def test_a_late_joiner_changes_the_mean_of_all_peers() -> None:
    world = world_of(*TOKENS, start=False)
    *veterans, joiner = world.nodes
    for node in veterans:
        world.start(node)
    world.run(seconds=30)
    agree(veterans, mean_of(veterans))
    before = mean_of(veterans)
    world.start(joiner)
    world.run(seconds=60)
    agree(world.nodes, mean_of(world.nodes))
    assert mean_of(world.nodes) != pytest.approx(before, abs=1e-3)
    check_mass(world)


def test_survivors_of_a_crash_agree_although_the_crashed_peer_holds_mass() -> None:
    world = world_of(*TOKENS)
    world.run(seconds=4)
    *survivors, gone = world.nodes
    world.crash(gone)
    world.run(seconds=60)
    estimates = [mass_of(node).estimate() for node in survivors]
    assert estimates[1] == pytest.approx(estimates[0], abs=1e-6)
    assert estimates[2] == pytest.approx(estimates[0], abs=1e-6)
    check_mass(world)
    world.start(gone)
    world.run(seconds=60)
    agree(world.nodes, mean_of(world.nodes))
