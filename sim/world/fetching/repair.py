"""Repair of lost frames in a simulated network: GossipSub's IHAVE and IWANT.

At its heartbeats a peer tells some neighbours outside its mesh the ids of the frames that it took during the last
`WINDOW` heartbeats, and sends those that a neighbour lacks. A peer with all neighbours in its mesh tells nobody, and
has no heartbeats here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from peers.core.events import PeerId
from peers.gossip_degrees import HEARTBEAT_S, WINDOW
from sim.world.agenda import Agenda
from sim.world.links.line import Line
from sim.world.links.mesh import Mesh
from sim.world.simulated_peer import SimulatedPeer


@dataclass(slots=True, eq=False)
class _Taken:
    """Frames that a peer took in one of its lives, with their authors: since the last heartbeat, and before it."""

    life: int
    now: dict[bytes, PeerId] = field(default_factory=dict[bytes, PeerId])
    before: list[dict[bytes, PeerId]] = field(default_factory=list[dict[bytes, PeerId]])


class Repair:
    """`send` sends one frame of an author from a peer to another."""

    def __init__(
        self,
        agenda: Agenda,
        line: Line,
        mesh: Mesh,
        rng: random.Random,
        *,
        send: Callable[[SimulatedPeer, SimulatedPeer, bytes, PeerId], None],
    ) -> None:
        self._agenda = agenda
        self._line = line
        self._mesh = mesh
        self._rng = rng
        self._send = send
        self._taken: dict[int, _Taken] = {}
        """Peer -> its frames, while it has some to tell of."""

    def note(self, node: SimulatedPeer, frame: bytes, author: PeerId) -> None:
        """A peer took a frame, or made it."""
        if len(node.mesh) == len(node.links):
            return
        taken = self._taken.get(node.index)
        if taken is None or taken.life != node.life:
            taken = self._taken[node.index] = _Taken(node.life)
            self._agenda.after(HEARTBEAT_S * self._rng.random(), self._beat, node, taken)
        taken.now[frame] = author

    def _beat(self, node: SimulatedPeer, taken: _Taken) -> None:
        if not node.lives(taken.life):
            return
        taken.before = [taken.now, *taken.before][:WINDOW]
        taken.now = {}
        if not any(taken.before):
            del self._taken[node.index]
            return
        for other in self._mesh.told(node):
            lacking = [pair for each in taken.before for pair in each.items() if pair[0] not in other.seen]
            if lacking and not self._line.is_lost(node, other):
                took = self._line.latency_s() + self._line.latency_s()
                self._agenda.after(took, self._wanted, node, taken.life, other, other.life, lacking)
        self._agenda.after(HEARTBEAT_S, self._beat, node, taken)

    def _wanted(
        self,
        node: SimulatedPeer,
        life: int,
        other: SimulatedPeer,
        its_life: int,
        frames: list[tuple[bytes, PeerId]],
    ) -> None:
        """A neighbour asked for these frames; it may have got some of them meanwhile."""
        here = node.lives(life) and other.lives(its_life) and other.id in node.links
        if here and not self._line.is_lost(other, node):
            for frame, author in frames:
                if frame not in other.seen:
                    self._send(node, other, frame, author)
