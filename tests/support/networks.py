"""A peer that only records, and a network that only calls: it passes the contract of the real one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from peers.identity import Identity
from peers.net.host import Link, NetworkTraffic, Peer, PeerId, PullFailed, Unreachable, Verdict
from wire.digest import digest_of


@dataclass
class RecordingPeer:
    """Says what it is told to say and writes down what happens."""

    verdict: Callable[[bytes], Verdict] = lambda frame: Verdict.ACCEPT
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    withheld: set[tuple[bytes, PeerId]] = field(default_factory=set)
    reply: Callable[[bytes], bytes | None] = lambda greeting: b"re: " + greeting
    banned: set[PeerId] = field(default_factory=set)
    proven: set[PeerId] = field(default_factory=set)
    links: dict[PeerId, Link] = field(default_factory=dict)
    heard: list[tuple[bytes, PeerId]] = field(default_factory=list)
    ups_and_downs: list[tuple[str, PeerId]] = field(default_factory=list)
    faults: list[tuple[PeerId, str, str, float]] = field(default_factory=list)

    def hear(self, frame: bytes, via: PeerId) -> Verdict:
        self.heard.append((frame, via))
        return self.verdict(frame)

    def greeted(self, greeting: bytes, via: PeerId) -> bytes | None:
        return self.reply(greeting)

    def blob(self, digest: bytes, asker: PeerId) -> bytes | None:
        return None if (digest, asker) in self.withheld else self.blobs.get(digest)

    def withholds(self, digest: bytes, asker: PeerId) -> bool:
        return (digest, asker) in self.withheld

    def connected(self, peer: PeerId, link: Link) -> None:
        self.ups_and_downs.append(("up", peer))
        self.links[peer] = link

    def disconnected(self, peer: PeerId) -> None:
        self.ups_and_downs.append(("down", peer))

    def misbehaved(self, peer: PeerId, field: str, why: str, fine: float) -> None:
        self.faults.append((peer, field, why, fine))

    def welcome(self, peer: PeerId) -> bool:
        return peer not in self.banned

    def standing(self, peer: PeerId) -> float:
        return 1.0 if peer in self.proven else 0.0

    def frames(self) -> list[bytes]:
        return [frame for frame, _ in self.heard]

    def keep(self, data: bytes) -> bytes:
        """Hold a blob; returns its digest."""
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest


MOST_JUDGED = 1000
"""Frames that a fake network remembers, more than ever travel at once. The real one forgets too."""


class FakeNetwork:
    """One peer's place in a `Hub`. Passes the same contract as the real network."""

    def __init__(self, hub: Hub, peer_id: PeerId, peer: Peer) -> None:
        self._hub = hub
        self.peer_id = peer_id
        self.peer = peer
        self.judged: dict[bytes, None] = {}
        """Digests of the newest frames, in the order in which they came."""
        self.outbound: set[PeerId] = set()
        self.sent: Counter[str] = Counter(announce=0, blob=0, known=0)
        self.received: Counter[str] = Counter(announce=0, blob=0, known=0)

    def _has_judged(self, frame: bytes) -> None:
        self.judged[digest_of(frame)] = None
        if len(self.judged) > MOST_JUDGED:
            del self.judged[next(iter(self.judged))]

    @property
    def addresses(self) -> tuple[str, ...]:
        return (f"/ip4/127.0.0.1/tcp/{1 + self._hub.index(self.peer_id)}/p2p/{self.peer_id}",)

    def neighbours(self) -> tuple[PeerId, ...]:
        return self._hub.neighbours(self.peer_id)

    def link(self, peer: PeerId) -> Link:
        """All live on one machine."""
        return (
            Link(group="v4:127.0.0.1", outbound=peer in self.outbound)
            if peer in self.neighbours()
            else Link()
        )

    async def publish(self, frame: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._has_judged(frame)
        self._forward(frame, came_from=None)

    def _forward(self, frame: bytes, came_from: PeerId | None) -> None:
        for peer_id in self.neighbours():
            if peer_id != came_from:
                self.sent["announce"] += len(frame)
                self._hub[peer_id]._hear(frame, self.peer_id)

    def _hear(self, frame: bytes, via: PeerId) -> None:
        self.received["announce"] += len(frame)
        if digest_of(frame) in self.judged:
            return
        verdict = self.peer.hear(frame, via)
        if verdict is not Verdict.IGNORE:
            self._has_judged(frame)
        if verdict is Verdict.ACCEPT:
            self._forward(frame, came_from=via)

    async def greet(self, peer: PeerId, greeting: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        other = self._reach(peer)
        reply = other.peer.greeted(greeting, self.peer_id)
        if reply is None:
            raise Unreachable(f"{peer} refused")
        self.sent["known"] += len(greeting)
        self.received["known"] += len(reply)
        return reply

    async def pull(self, digest: bytes, size: int, sources: tuple[PeerId, ...]) -> bytes:
        told: list[str] = []
        later = False
        for source in sources:
            await trio.lowlevel.checkpoint()
            try:
                holder = self._reach(source).peer
                data = holder.blob(digest, self.peer_id)
            except Unreachable as error:
                told.append(str(error))
                continue
            if data is None:
                put_off = holder.withholds(digest, self.peer_id)
                later = later or put_off
                told.append(f"{source}: {'busy' if put_off else 'not here'}")
            elif len(data) != size or digest_of(data) != digest:
                field = "blob.size" if len(data) != size else "blob.sha"
                self.peer.misbehaved(source, field, "not what was announced", -50.0)
                told.append(f"{source}: wrong bytes")
            else:
                self._reach(source).sent["blob"] += size
                self.received["blob"] += size
                return data
        raise PullFailed("; ".join(told) or "no sources", later=later)

    async def disconnect(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        self._hub.cut(self.peer_id, peer)

    def traffic(self) -> NetworkTraffic:
        return NetworkTraffic(dict(self.sent), dict(self.received))

    def _reach(self, peer: PeerId) -> FakeNetwork:
        if peer not in self.neighbours():
            raise Unreachable(f"{peer} is not connected")
        return self._hub[peer]


class Hub:
    """Fake networks and the lines between them. Delivery is immediate and in order."""

    def __init__(self) -> None:
        self._networks: dict[PeerId, FakeNetwork] = {}
        self._lines: set[frozenset[PeerId]] = set()

    def join(self, peer: Peer, peer_id: PeerId | None = None, *, connect: bool = True) -> FakeNetwork:
        """A new place, connected with everybody unless `connect` is false."""
        peer_id = peer_id or Identity.generate().peer_id
        network = self._networks[peer_id] = FakeNetwork(self, peer_id, peer)
        if connect:
            for other in tuple(self._networks):
                if other != peer_id:
                    self.connect(peer_id, other)
        return network

    def leave(self, peer_id: PeerId) -> None:
        """As a crash: everybody else hears of the end of the connection, the one who left does not."""
        for other in self.neighbours(peer_id):
            self._lines.discard(frozenset((peer_id, other)))
            self[other].peer.disconnected(peer_id)
        del self._networks[peer_id]

    def connect(self, one: PeerId, other: PeerId) -> bool:
        line = frozenset((one, other))
        welcome = self[one].peer.welcome(other) and self[other].peer.welcome(one)
        if line in self._lines or not welcome:
            return False
        self._lines.add(line)
        self[one].outbound.add(other)
        self[one].peer.connected(other, self[one].link(other))
        self[other].peer.connected(one, self[other].link(one))
        return True

    def cut(self, one: PeerId, other: PeerId) -> None:
        line = frozenset((one, other))
        if line in self._lines:
            self._lines.discard(line)
            self[one].outbound.discard(other)
            self[other].outbound.discard(one)
            self[one].peer.disconnected(other)
            self[other].peer.disconnected(one)

    def neighbours(self, peer_id: PeerId) -> tuple[PeerId, ...]:
        return tuple(sorted(other for line in self._lines if peer_id in line for other in line - {peer_id}))

    def index(self, peer_id: PeerId) -> int:
        return list(self._networks).index(peer_id)

    def __getitem__(self, peer_id: PeerId) -> FakeNetwork:
        return self._networks[peer_id]


async def wait_until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Return as soon as it holds; `trio.TooSlowError` if it does not in time."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - a condition, not an event
            await trio.sleep(0.005)
