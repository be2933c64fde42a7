"""Worlds of toy peers, and what must hold in every one of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from peers.core.config import CoreConfig, DefenceConfig, RoundConfig
from peers.core.effects import Publish, Store
from peers.core.events import Stored
from sim.toy.adding import add_toy
from sim.world.conditions import ComputeConfig, Conditions, LinkConfig
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World
from support.core_bench import RoundOptions
from support.running_core import neighbourhood
from wire.codec import decode_announcement

CONFIG: RoundOptions = {"steps": 2, "patience_s": 2.0, "compare_every_s": 5.0}
COMPUTE = ComputeConfig(step_s=0.5, answer_s=0.0)
"""A second for local steps, and all else at once: what stories about networks and crashes count in."""
ALWAYS_ASKING = DefenceConfig(fruitless=0)
"""Toys have soon learned all that they can from each other, and these stories are about rounds that ask."""


def published(world: World, node: SimulatedPeer) -> list[bytes]:
    """Every frame that a peer ever published, in all its lives."""
    effects = [effect for one in world.log if one.peer == node.index for effect in one.effects]
    return [effect.frame for effect in effects if isinstance(effect, Publish)]


def announced(world: World, node: SimulatedPeer) -> list[tuple[int, bytes]]:
    """Its (round, digest) of each."""
    frames = [decode_announcement(frame) for frame in published(world, node)]
    return [(one.announcement.round, one.digest) for one in frames]


def knows(node: SimulatedPeer, other: SimulatedPeer) -> int:
    """The newest round of the other that this peer holds whole; -1 for none."""
    author = other.keys.peer_id
    rounds = [
        one.announcement.round for one in neighbourhood(node.core).inbox.complete() if one.author == author
    ]
    return max(rounds, default=-1)


def check(world: World, *, outsiders: tuple[str, ...] = ()) -> None:
    """What no history of honest peers may violate, whatever was done to them."""
    ids = {node.keys.peer_id for node in world.nodes}
    assert world.log, "what happened is known"
    for node in world.nodes:
        for record in node.rounds:
            weights = [record.self_weight, *(seen.weight for seen in record.seen)]
            assert all(math.isfinite(weight) and weight >= 0 for weight in weights)
            assert math.isclose(sum(weights), 1.0, abs_tol=1e-9)
            assert node.keys.peer_id not in {seen.peer for seen in record.seen}
            assert len({seen.peer for seen in record.seen}) == len(record.seen)
            assert record.trust_merged <= record.trust_alone + 1e-6, "a merge never does harm"
        digests: dict[int, set[bytes]] = {}
        for round_, digest in announced(world, node):
            digests.setdefault(round_, set()).add(digest)
        assert all(len(one) == 1 for one in digests.values()), f"{node.config.name} announced a round twice"
        rounds = [round_ for round_, _ in announced(world, node)]
        assert rounds == sorted(rounds), f"{node.config.name} went back"
        for other in ids - {node.keys.peer_id}:
            assert node.core.welcome(other, world.now), f"{node.config.name} banned an honest peer"
        for outsider in outsiders:
            assert outsider not in {seen.peer for one in node.rounds for seen in one.seen if seen.weight > 0}
    asked: dict[tuple[int, int], dict[int, bytes]] = {}
    durable: dict[tuple[int, int], set[bytes]] = {}
    for one in world.log:
        life = one.peer, one.life
        if isinstance(one.event, Stored):
            durable.setdefault(life, set()).add(asked[life][one.event.generation])
        for effect in one.effects:
            if isinstance(effect, Store):
                asked.setdefault(life, {})[effect.saved.generation] = effect.saved.frame
            if isinstance(effect, Publish):
                assert effect.frame in durable[life], "published before it was stored"


def world_of(
    *targets: list[float],
    seed: int = 0,
    speeds: Callable[[int], float] = lambda n: 1 + n / 7,
    start: bool = True,
    rounds: RoundOptions | None = None,
    conditions: Conditions | None = None,
    defence: DefenceConfig = ALWAYS_ASKING,
    **link: Any,
) -> World:
    """One peer for each target, all begun; `link` where nothing else of the conditions matters."""
    conditions = conditions or Conditions(link=LinkConfig(**link), compute=COMPUTE)
    world = World(seed=seed, conditions=conditions, logged=True)
    limits: RoundOptions = {**CONFIG, **(rounds or {})}
    for number, target in enumerate(targets):
        config = CoreConfig(name=f"p{number}", round=RoundConfig(**limits), defence=defence)
        # Everybody's own text leans another way, so that there is something to learn from each other.
        lean = [0.5 * math.sin(number + axis) for axis in range(4)]
        add_toy(world, config, target, lean=lean, speed=speeds(number))
    if start:
        world.begin()
    return world
