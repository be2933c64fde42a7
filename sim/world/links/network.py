"""The simulated network: connections, and the time and loss of the messages between peers.

It keeps the contract of the pubsub router. A frame that a peer accepts is passed on along its mesh (with relay). A
peer judges a frame once, unless its verdict was "ignore". A dropped connection ends at both ends and loses the messages
on their way. A peer that is not welcome is not connected again.

`line.py` has the time and the loss of a message, `mesh.py` to whom a frame goes, `fetching/repair.py` how a lost one
still comes, `fetching/pulls.py` the fetching of blobs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence

from peers.core.effects import Answer, Effect, Greet, Judge, Verdict
from peers.core.events import (
    Connected,
    Disconnected,
    Event,
    Greeted,
    Heard,
    PeerId,
    Replied,
)
from sim.world.agenda import Agenda
from sim.world.conditions import LinkConfig, TopologyConfig
from sim.world.fetching.pulls import Pulls
from sim.world.fetching.repair import Repair
from sim.world.links.line import Line
from sim.world.links.mesh import Mesh
from sim.world.links.obstacles import Groups, Obstacles
from sim.world.links.topology import graph_of
from sim.world.simulated_peer import SimulatedPeer


class SimulatedNetwork:
    """The network of one world. `tell` gives a peer an event and returns the effects of its core."""

    def __init__(
        self,
        link: LinkConfig,
        topology: TopologyConfig,
        *,
        agenda: Agenda,
        rng: random.Random,
        tell: Callable[[SimulatedPeer, Event], Sequence[Effect]],
        clock: Callable[[SimulatedPeer], float],
        mesh_rng: random.Random,
    ) -> None:
        self._relay = topology.relay
        self._graph = graph_of(topology, rng)
        self._agenda = agenda
        self._obstacles = Obstacles()
        self._line = Line(link, agenda, rng, self._obstacles)
        self._mesh = Mesh(mesh_rng)
        self._repair = Repair(agenda, self._line, self._mesh, mesh_rng, send=self._send)
        self._tell = tell
        self._clock = clock
        self._nodes: list[SimulatedPeer] = []
        self._by_id: dict[PeerId, SimulatedPeer] = {}
        self.outsiders: dict[PeerId, dict[bytes, bytes]] = {}
        """Blobs by digest of peers that are no cores and that every peer reaches: for invented messages."""
        pulls = Pulls(agenda, self._line, outsiders=self.outsiders, tell=tell)
        self.pull = pulls.begin

    # -- who is connected ---------------------------------------------------------------------------

    def add(self, node: SimulatedPeer) -> None:
        if node.id in self._by_id:
            raise ValueError(f"keys must differ, there is a peer {node.id} already")
        self._graph.add()
        self._nodes.append(node)
        self._by_id[node.id] = node

    def join(self, node: SimulatedPeer) -> None:
        """Connect a peer that has just started."""
        node.seen.clear()
        node.free_at = self._agenda.now
        self._link_all(node)

    def leave(self, node: SimulatedPeer) -> None:
        for other in tuple(node.links.values()):
            self._unlink(node, other)

    def drop(self, node: SimulatedPeer, peer: PeerId) -> None:
        other = self._by_id.get(peer)
        if other is None:
            self._agenda.after(0.0, self._connection_changed, node, node.life, peer, False)
        else:
            self._unlink(node, other)

    def cut(self, name: Hashable, groups: Groups) -> None:
        """Separate the groups until `heal(name)`."""
        self._obstacles.cut(name, groups)
        for node in self._members(groups):
            for other in tuple(node.links.values()):
                if self._obstacles.is_cut(node.index, other.index):
                    self._unlink(node, other)

    def heal(self, name: Hashable) -> None:
        for node in self._members(self._obstacles.heal(name)):
            self._link_all(node)

    def silence(self, sender: SimulatedPeer, receiver: SimulatedPeer) -> None:
        """Lose all messages in one direction until `end_silence`. The connection stays."""
        self._obstacles.silence(sender.index, receiver.index)

    def end_silence(self, sender: SimulatedPeer, receiver: SimulatedPeer) -> None:
        self._obstacles.end_silence(sender.index, receiver.index)

    def _members(self, groups: Groups) -> list[SimulatedPeer]:
        return [self._nodes[index] for group in groups for index in sorted(group)]

    def _link_all(self, node: SimulatedPeer) -> None:
        for index in self._graph.neighbours(node.index):
            self._link(node, self._nodes[index])

    def _link(self, one: SimulatedPeer, other: SimulatedPeer) -> None:
        if one is other or not (one.alive and other.alive) or other.id in one.links:
            return
        welcome = one.core.welcome(other.id, self._clock(one)) and other.core.welcome(
            one.id, self._clock(other)
        )
        if welcome and not self._obstacles.is_cut(one.index, other.index):
            one.links[other.id] = other
            one.dialled.add(other.id)
            other.dialled.discard(one.id)
            other.links[one.id] = one
            self._mesh.linked(one, other)
            self._announce(one, other, connected=True)

    def _unlink(self, one: SimulatedPeer, other: SimulatedPeer) -> None:
        if one.links.pop(other.id, None) is not None:
            del other.links[one.id]
            self._mesh.unlinked(one, other)
            self._announce(one, other, connected=False)

    def _announce(self, one: SimulatedPeer, other: SimulatedPeer, *, connected: bool) -> None:
        for node, peer in ((one, other.id), (other, one.id)):
            self._agenda.after(
                self._line.latency_s(), self._connection_changed, node, node.life, peer, connected
            )

    def _connection_changed(self, node: SimulatedPeer, life: int, peer: PeerId, connected: bool) -> None:
        """Tell a peer of a connection, unless it ended or came back while the message was on its way."""
        if node.lives(life) and (peer in node.links) == connected:
            self._tell(node, self._connected(node, peer) if connected else Disconnected(peer=peer))

    @staticmethod
    def _connected(node: SimulatedPeer, peer: PeerId) -> Connected:
        return Connected(peer=peer, group=node.links[peer].group, outbound=peer in node.dialled)

    # -- announcements ------------------------------------------------------------------------------

    def publish(self, node: SimulatedPeer, frame: bytes) -> None:
        node.seen.add(frame)
        self._pass_on(node, frame, node.id, via=node.id)

    def hear(self, node: SimulatedPeer, heard: Heard, author: PeerId) -> None:
        """Let the peer judge a frame that it has not judged yet, and pass on what it accepts."""
        if heard.frame in node.seen:
            return
        for effect in self._tell(node, heard):
            if isinstance(effect, Judge) and effect.verdict is not Verdict.IGNORE:
                node.seen.add(heard.frame)
                if effect.verdict is Verdict.ACCEPT and self._relay:
                    self._pass_on(node, heard.frame, author, via=heard.via)

    def _pass_on(self, node: SimulatedPeer, frame: bytes, author: PeerId, *, via: PeerId) -> None:
        """Send a frame along the mesh, but to its author and to where it came from; without relay, to all."""
        receivers = self._mesh.receivers(node) if self._relay else node.links.values()
        for other in receivers:
            if other.id not in (author, via):
                self._send(node, other, frame, author)
        if self._relay:
            self._repair.note(node, frame, author)

    def _send(self, node: SimulatedPeer, other: SimulatedPeer, frame: bytes, author: PeerId) -> None:
        if frame in other.seen:
            self._line.send_copy(node, other, "announce", len(frame))
            return
        took = self._line.sending_s(node, "announce", len(frame))
        if not self._line.is_lost(node, other):
            self._agenda.after(took, self._frame_came, node, other, other.life, frame, author)

    def _frame_came(
        self, sender: SimulatedPeer, node: SimulatedPeer, life: int, frame: bytes, author: PeerId
    ) -> None:
        if node.lives(life) and sender.id in node.links:
            node.received["announce"] += len(frame)
            self.hear(node, Heard(frame=frame, via=sender.id), author)

    # -- comparing what is known --------------------------------------------------------------------

    def greet(self, node: SimulatedPeer, greet: Greet) -> None:
        other = node.links.get(greet.peer)
        if other is not None:
            took = self._line.sending_s(node, "known", len(greet.greeting))
            if not self._line.is_lost(node, other):
                greeted = Greeted(greeting=greet.greeting, via=node.id)
                self._agenda.after(took, self._greeting_came, node, other, other.life, greeted)

    def _greeting_came(self, sender: SimulatedPeer, node: SimulatedPeer, life: int, greeted: Greeted) -> None:
        if not node.lives(life) or sender.id not in node.links:
            return
        node.received["known"] += len(greeted.greeting)
        for effect in self._tell(node, greeted):
            if isinstance(effect, Answer) and effect.reply is not None:
                took = self._line.sending_s(node, "known", len(effect.reply))
                if not self._line.is_lost(node, sender):
                    replied = Replied(reply=effect.reply, via=node.id)
                    self._agenda.after(took, self._reply_came, node, sender, sender.life, replied)

    def _reply_came(self, sender: SimulatedPeer, node: SimulatedPeer, life: int, replied: Replied) -> None:
        if node.lives(life) and sender.id in node.links:
            node.received["known"] += len(replied.reply)
            self._tell(node, replied)
