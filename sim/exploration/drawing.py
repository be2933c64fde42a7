"""Draws a whole random world from one seed."""

from __future__ import annotations

import random
from dataclasses import replace

from peers.core.config import CoreConfig
from sim.exploration.faults import Crash, Cut, Fault, FullDisk, LearnerDeath, LearnerFailure, Silence
from sim.exploration.hostile.acts import ACTS
from sim.exploration.hostile.peer import HostilePart
from sim.exploration.liars import LIES, Liar
from sim.exploration.plan import Part, Plan, PlannedPeer
from sim.exploration.settings import peer_settings, shared
from sim.toy.units import DIMENSION, Vector
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig, TopologyConfig

EVENTFUL_S = 40.0
"""Seconds in which faults begin and end: about ten rounds. Guess: most orders of events show up within a few."""
LONGEST_PAUSE_S = 45.0
"""Longest pause of a peer without any fault going on: the learner's longest pause before it is opened again, and a
refused write that is tried again."""


def drawn(seed: int) -> Plan:
    """The plan of this seed."""
    rng = random.Random(f"explore {seed}")
    common = shared(rng)
    count = rng.choice((2, 3, 4, 5, 6, 8, 12)) if rng.random() < 0.97 else 30
    conditions = _conditions(count, rng)
    target = tuple(rng.uniform(-3, 3) for _ in range(DIMENSION))
    peers = tuple(_peer(peer_settings(f"p{number}", common, rng), target, rng) for number in range(count))
    peers = _with_bases(peers, random.Random(f"bases {seed}"))
    faults = [_fault(count, rng) for _ in range(rng.choice((0, 2, 4, 8)))]
    hostile = [_hostile(rng) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))]
    liars = _liars(count, rng)
    # Two whole rounds of the slowest peer, wherever in a round it is.
    rounds_s = 3 * max(longest_round_s(conditions, one) for one in peers)
    news_s = _news_s(conditions, peers)
    return Plan(
        seed=seed,
        conditions=conditions,
        form=common.form,
        peers=peers,
        parts=tuple[Part, ...]((*faults, *hostile, *liars)),
        eventful_s=EVENTFUL_S,
        quiet_s=LONGEST_PAUSE_S + max(rounds_s, news_s),
        pause_s=LONGEST_PAUSE_S,
        news_s=news_s,
    )


def _conditions(count: int, rng: random.Random) -> Conditions:
    degree = rng.choice([degree for degree in range(2, max(3, count)) if count * degree % 2 == 0])
    random_graph = count > 4 and degree < count and rng.random() < 0.4
    return Conditions(
        link=LinkConfig(
            latency_s=rng.choice((0.0, 0.02, 0.3)),
            jitter_s=rng.choice((0.0, 0.05, 1.0)),
            loss=rng.choice((0.0, 0.0, 0.05, 0.3)),
            bandwidth_bytes_s=rng.choice((0.0, 0.0, 1e6)),
            disk_s=rng.choice((0.0, 0.01, 0.4)),
        ),
        compute=ComputeConfig(step_s=0.5, answer_s=rng.choice((0.0, 0.1, 0.5))),
        topology=TopologyConfig(
            kind="random" if random_graph else "full",
            degree=degree if random_graph else 4,
            relay=rng.random() < 0.8,
        ),
    )


def _peer(config: CoreConfig, target: Vector, rng: random.Random) -> PlannedPeer:
    return PlannedPeer(
        config=config,
        target=target,
        lean=tuple(rng.gauss(0, 0.5) for _ in range(DIMENSION)),
        speed=rng.choice((0.3, 0.7, 1.0, 1.0, 1.5, 3.0)),
        tokens=rng.choice((1, 1, 10)),
        joins_s=rng.uniform(0, EVENTFUL_S) if rng.random() < 0.1 else 0.0,
    )


def _with_bases(peers: tuple[PlannedPeer, ...], rng: random.Random) -> tuple[PlannedPeer, ...]:
    """In every fourth world, some peers hold another base, of their own tokenizer or of another one."""
    if rng.random() >= 0.25:
        return peers
    bases = rng.choice((("toy", "toy", "another"), ("toy", "toy", "tongue:another")))
    return tuple(replace(one, base=rng.choice(bases)) for one in peers)


def _fault(count: int, rng: random.Random) -> Fault:
    peer, at_s = rng.randrange(count), rng.uniform(0, EVENTFUL_S)
    until_s = rng.uniform(at_s, EVENTFUL_S)
    kind = rng.randrange(6)
    if kind == 0:
        return Crash(
            peer=peer,
            at_s=at_s,
            until_s=min(until_s, at_s + rng.choice((0.1, 3.0, 30.0))),
            damages=rng.random() < 0.25,
            clock_jumps_s=rng.choice((0.0, 0.0, 3600.0, -3600.0, 3e8, -3e8)),
        )
    if kind == 1:
        one = frozenset(rng.sample(range(count), rng.randint(1, count - 1)))
        return Cut(one=one, other=frozenset(range(count)) - one, at_s=at_s, until_s=until_s)
    if kind == 2:
        receiver = rng.choice([other for other in range(count) if other != peer])
        return Silence(sender=peer, receiver=receiver, at_s=at_s, until_s=until_s)
    if kind == 3:
        return FullDisk(peer=peer, at_s=at_s, until_s=until_s)
    if kind == 4:
        return LearnerDeath(peer=peer, at_s=at_s, hangs_s=rng.choice((0.0, 0.5, 8.0)))
    return LearnerFailure(peer=peer, at_s=at_s, fails=rng.random() < 0.5)


def _hostile(rng: random.Random) -> HostilePart:
    at_s = rng.uniform(0, EVENTFUL_S / 2)
    return HostilePart(
        act=rng.choice(list(ACTS)),
        identities=rng.choice((1, 1, 3, 20)),
        at_s=at_s,
        until_s=rng.uniform(at_s, EVENTFUL_S),
        every_s=rng.choice((0.3, 1.0, 3.0)),
        seed=rng.getrandbits(32),
    )


def _liars(count: int, rng: random.Random) -> list[Liar]:
    """Some peers that lie, always fewer than half of all."""
    number = rng.randint(0, (count - 1) // 2) if rng.random() < 0.5 else 0
    return [
        Liar(
            peer=peer,
            lie=rng.choice(list(LIES)),
            share=rng.choice((0.3, 1.0)),
            claims=rng.choice((0, 0, 2**40)),
            seed=rng.getrandbits(32),
        )
        for peer in rng.sample(range(count), number)
    ]


def _news_s(conditions: Conditions, peers: tuple[PlannedPeer, ...]) -> float:
    """Seconds for an announcement to reach every peer by comparison alone: hop by hop, where a peer compares with one
    neighbour after the other, and a lost greeting costs a turn."""
    everyone = len(peers) - 1
    random_graph = conditions.topology.kind == "random"
    neighbours = conditions.topology.degree if random_graph else everyone
    hops = min(4, everyone) if random_graph else 1
    turns = 4 if conditions.link.loss else 1
    slowest = max(one.config.round.compare_every_s for one in peers)
    return (
        hops * turns * neighbours * slowest + 10 * (conditions.link.latency_s + conditions.link.jitter_s) + 5
    )


def longest_round_s(conditions: Conditions, peer: PlannedPeer) -> float:
    """An upper bound on a round of a peer that nothing keeps from going on."""
    round_, link = peer.config.round, conditions.link
    training = round_.steps * conditions.compute.step_s / peer.speed
    patience = round_.patience_s if round_.barrier else min(round_.patience_s, max(5.0, training))
    # Opening, weighing, fitting, evaluating twice, merging; saving twice.
    return training + patience + 8 * conditions.compute.answer_s + 4 * link.disk_s
