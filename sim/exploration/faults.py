"""Faults that befall honest peers, each with the time at which it begins and, where it lasts, at which it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sim.exploration.learners import FaultyLearner
from sim.world.disk import damage
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World


class Processes:
    """Starts and ends the processes of one world's peers. A peer runs while no fault keeps it away."""

    def __init__(self, world: World) -> None:
        self.world = world

    def peer(self, index: int) -> SimulatedPeer:
        return self.world.nodes[index]

    def go(self, node: SimulatedPeer) -> None:
        node.away += 1
        if node.alive:
            self.world.crash(node)

    def come(self, node: SimulatedPeer) -> None:
        """End one reason for being away. A peer whose core stopped by itself stays away."""
        node.away -= 1
        if not node.away and node.stopped is None:
            self.world.start(node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The process dies, and starts again from its disk. Its newest state may be damaged, its clock may jump."""

    peer: int
    at_s: float
    until_s: float
    damages: bool
    clock_jumps_s: float

    def begin(self, processes: Processes) -> None:
        after = processes.world.agenda.after
        after(self.at_s, self._crash, processes)
        after(self.until_s, processes.come, processes.peer(self.peer))

    def _crash(self, processes: Processes) -> None:
        node = processes.peer(self.peer)
        processes.go(node)
        node.clock_ahead_s += self.clock_jumps_s
        if self.damages:
            damage(node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Two groups cannot reach each other; all their connections end."""

    one: frozenset[int]
    other: frozenset[int]
    at_s: float
    until_s: float

    def begin(self, processes: Processes) -> None:
        world = processes.world
        # By identity: two cuts may have equal groups and times.
        name = id(self)
        world.agenda.after(self.at_s, world.network.cut, name, (self.one, self.other))
        world.agenda.after(self.until_s, world.network.heal, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What one peer sends to another is lost, while the connection stands and the other direction works."""

    sender: int
    receiver: int
    at_s: float
    until_s: float

    def begin(self, processes: Processes) -> None:
        network, after = processes.world.network, processes.world.agenda.after
        pair = processes.peer(self.sender), processes.peer(self.receiver)
        after(self.at_s, network.silence, *pair)
        after(self.until_s, network.end_silence, *pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class FullDisk:
    """Every write is refused."""

    peer: int
    at_s: float
    until_s: float

    def begin(self, processes: Processes) -> None:
        after, node = processes.world.agenda.after, processes.peer(self.peer)
        after(self.at_s, _set_full, node, True)
        after(self.until_s, _set_full, node, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerDeath:
    """The learner's process dies, or hangs until its peer ends it `hangs_s` later."""

    peer: int
    at_s: float
    hangs_s: float

    def begin(self, processes: Processes) -> None:
        processes.world.agenda.after(self.at_s, self._die, processes)

    def _die(self, processes: Processes) -> None:
        node = processes.peer(self.peer)
        if node.alive:
            processes.world.lose_learner(node, "killed", after_s=self.hangs_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerFailure:
    """The next answer of the learner is a failure, or its numbers are not finite."""

    peer: int
    at_s: float
    fails: bool

    def begin(self, processes: Processes) -> None:
        processes.world.agenda.after(self.at_s, self._fail, processes)

    def _fail(self, processes: Processes) -> None:
        learner = processes.peer(self.peer).learner
        assert isinstance(learner, FaultyLearner), "every peer of an explored world has one"
        learner.next_answer = "fails" if self.fails else "is not finite"


Fault: TypeAlias = Crash | Cut | Silence | FullDisk | LearnerDeath | LearnerFailure


def _set_full(node: SimulatedPeer, full: bool) -> None:
    node.disk_full = full
