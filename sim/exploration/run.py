"""Builds the world of a plan and runs it, through its eventful time and the quiet after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peers.core.events import PeerId
from sim.exploration.faults import Processes
from sim.exploration.hostile.acts import ACTS
from sim.exploration.hostile.peer import HostilePart, HostilePeer
from sim.exploration.learners import FaultyLearner
from sim.exploration.liars import Liar, LyingLearner
from sim.exploration.plan import Plan, PlannedPeer
from sim.toy.learner import ToyLearner
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World

SAMPLE_EVERY_S = 1.0
MOST_EVENTS = 2_000_000
"""Planned calls of a second after which a world counts as one that makes no progress. Guess: a hundred times the most
that was seen."""


@dataclass(frozen=True, slots=True)
class Explored:
    """A world that ran to the end of its plan, and who in it is honest."""

    plan: Plan
    world: World
    hostile: tuple[HostilePeer, ...]
    quiet_since: float

    @property
    def honest(self) -> list[SimulatedPeer]:
        return [node for node in self.world.nodes if node.index not in self.plan.liars]

    @property
    def honest_ids(self) -> frozenset[PeerId]:
        return frozenset(node.id for node in self.honest)


def run(plan: Plan, *, begin: Callable[[Explored], None], sample: Callable[[Explored], None]) -> Explored:
    """Run a plan to its end, calling `begin` before anything happens and `sample` once a second.

    Whatever a core raises is raised.
    """
    world = World(seed=plan.seed, conditions=plan.conditions, logged=True)
    liars = {part.peer: part for part in plan.parts if isinstance(part, Liar)}
    for index, peer in enumerate(plan.peers):
        world.add(peer.config, _learner(plan, peer, liars.get(index)), speed=peer.speed)
    processes = Processes(world)
    for node, peer in zip(world.nodes, plan.peers, strict=True):
        node.away = 1
        world.agenda.after(peer.joins_s, processes.come, node)
    hostile: list[HostilePeer] = []
    for part in plan.parts:
        if isinstance(part, HostilePart):
            pushes = not plan.peers[0].config.learner.rows
            hostile.append(HostilePeer(part, ACTS[part.act].act, world, plan.form, pushes=pushes))
            hostile[-1].begin()
        elif not isinstance(part, Liar):
            part.begin(processes)
    explored = Explored(plan, world, tuple(hostile), world.now + plan.eventful_s)
    begin(explored)
    end = explored.quiet_since + plan.quiet_s
    while world.now < end:
        world.run(seconds=min(SAMPLE_EVERY_S, end - world.now), most=MOST_EVENTS)
        sample(explored)
    return explored


def _learner(plan: Plan, peer: PlannedPeer, liar: Liar | None) -> Callable[[], FaultyLearner]:
    def learner() -> FaultyLearner:
        toy = ToyLearner(peer.target, lean=peer.lean, base=peer.base, form=plan.form, tokens=peer.tokens)
        return FaultyLearner(LyingLearner(toy, liar, plan.form) if liar else toy)

    return learner
