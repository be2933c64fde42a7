"""An intruder: a fault in what attackers do on the network, rather than in what they learned.

It sees what is public in a world, tells honest peers what it likes, and serves blobs. Frames are encoded and signed as
any others are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from peers.core.effects import Publish
from peers.core.events import Connected, Heard, PeerId
from sim.adversaries.workshop import Workshop
from sim.world.keys import ToyKeys
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened
from sim.world.world import World
from wire.codec import decode_announcement, encode_announcement
from wire.digest import Content
from wire.messages import Announcement, BlobRef


@dataclass(frozen=True, slots=True, eq=False)
class Town:
    """A world as intruders see it. `honest` and `attackers` are its peers with a core, `identities` the number of
    attackers that the scenario asks for."""

    world: World
    honest: Sequence[SimulatedPeer]
    attackers: Sequence[SimulatedPeer]
    identities: int
    workshop: Workshop

    def published(
        self, happened: Iterable[Happened], by: Sequence[SimulatedPeer]
    ) -> list[tuple[SimulatedPeer, Announcement, bytes]]:
        """The announcements that these peers published, each with its payload."""
        places = {node.index: node for node in by}
        found: list[tuple[SimulatedPeer, Announcement, bytes]] = []
        for one in happened:
            for effect in one.effects:
                if isinstance(effect, Publish) and one.peer in places:
                    frame = decode_announcement(effect.frame)
                    found.append((places[one.peer], frame.announcement, frame.payload))
        return found

    def tell(self, nodes: Iterable[SimulatedPeer], frame: bytes, via: PeerId) -> None:
        for node in nodes:
            if node.alive:
                self.world.tell(node, Heard(frame=frame, via=via))

    def connect(self, peer: PeerId, group: str) -> None:
        """Let a peer without a core connect to every honest peer."""
        self.world.outsiders.setdefault(peer, {})
        for node in self.honest:
            self.world.tell(node, Connected(peer=peer, group=group))

    def serve(self, peer: PeerId, content: Content) -> None:
        self.world.outsiders[peer][content.digest] = content.data


class Intruder:
    """The base class does nothing; an intruder overrides one of the methods."""

    cores = True
    """Whether attackers have cores and learners. Without, they are only what the intruder says in their names."""

    def ids(self, identities: int) -> set[PeerId]:
        """The identities that have no core."""
        del identities
        return set()

    def begin(self, town: Town) -> None:
        """Called when the world has begun."""

    def act(self, town: Town, happened: Sequence[Happened]) -> None:
        """Called with all events since the last call, many times in a round."""


def signed(announcement: Announcement, keys: ToyKeys, *, payload: bytes = b"") -> bytes:
    return encode_announcement(announcement, keys.sign, payload=payload)


def ref(content: Content) -> BlobRef:
    return BlobRef(digest=content.digest, size=content.size)
