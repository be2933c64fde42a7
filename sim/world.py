"""A world of peers in virtual time: a heap of (time, sequence, peer, event), and nothing that is not in it.

Every peer is the core that runs on devices, and every message passes through the real codec; only the
learner, the disk and the network are played. A world is a function of its seed and of what is done to it, so
a fault found here is replayed by its seed. The trace is a digest over every event, effect and time: two runs
are the same run if their traces are equal.

The played network is the router's contract: a frame that a peer accepts goes on to its neighbours, each peer
judges a frame once unless it said "ignore", a dropped connection ends at both ends, and who is not welcome does not
come back. The played disk takes its time, and what it was given counts only when that is over.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, assert_never

import numpy as np

from gossipllm.work import Evaluate, Merge, Open, Request, Train, Weigh
from peers.core.admission import Keys
from peers.core.config import CoreConfig
from peers.core.effects import (
    Answer,
    Drop,
    Effect,
    Greet,
    Judge,
    Publish,
    Pull,
    Report,
    Stop,
    Store,
    Verdict,
    WakeAt,
)
from peers.core.events import (
    Connected,
    Disconnected,
    Event,
    Greeted,
    Heard,
    Learned,
    NotPulled,
    PeerId,
    Pulled,
    Replied,
    Started,
    Stored,
    Woke,
)
from peers.core.saved import Saved
from peers.core.state import Core
from sim.toy import TRAIN_S, ToyKeys, ToyLearner
from trust.history import Record, Round
from wire.digest import Content, digest_of


class Learns(Protocol):
    def answer(self, request: Request) -> Learned: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Of every message: `latency_s` plus up to as much again by lot; lost with probability `loss`. A blob or a
    greeting is lost as often, and its asker learns of it. The disk takes `disk_s` for a state."""

    latency_s: float = 0.05
    loss: float = 0.0
    disk_s: float = 0.01


@dataclass(frozen=True, slots=True)
class Happened:
    """An event that a peer was told, in which of its lives, and what it asked for."""

    at: float
    peer: int
    life: int
    event: Event
    effects: tuple[Effect, ...]


@dataclass(slots=True, eq=False)
class Node:
    """A peer in the world, alive or not. `life` counts its starts: what an earlier life awaited never comes.

    `beginnings` are the states with which its lives began, for whoever wants to live them again.
    """

    index: int
    config: CoreConfig
    keys: Keys
    make_learner: Callable[[], Learns]
    speed: float
    core: Core
    learner: Learns
    alive: bool = False
    life: int = 0
    disk: Saved | None = None
    beginnings: list[Saved | None] = field(default_factory=list["Saved | None"])
    published: list[bytes] = field(default_factory=list[bytes])
    seen: set[bytes] = field(default_factory=set[bytes])
    records: list[Record] = field(default_factory=list[Record])
    stopped: Stop | None = None

    @property
    def rounds(self) -> list[Round]:
        return [one for one in self.records if isinstance(one, Round)]


class World:
    """Add peers, start them, run, break things, run on."""

    def __init__(self, *, seed: int = 0, conditions: Conditions | None = None) -> None:
        self.now = 1_000_000.0
        self.nodes: list[Node] = []
        self._by_id: dict[PeerId, Node] = {}
        self._conditions = conditions or Conditions()
        self._rng = random.Random(seed)
        self._heap: list[tuple[float, int, int, int, Event | _Written]] = []
        self._sequence = 0
        self._cuts: set[frozenset[int]] = set()
        self._links: set[frozenset[int]] = set()
        self._trace = b""
        self.log: list[Happened] = []
        self.outsiders: dict[PeerId, dict[bytes, bytes]] = {}
        """Blobs by digest of somebody who is no core, whom every peer reaches: for what `tell` makes up."""

    @property
    def trace(self) -> str:
        return self._trace.hex()

    # -- peers --------------------------------------------------------------------------------------

    def add(
        self,
        config: CoreConfig,
        target: list[float],
        *,
        lean: list[float] | None = None,
        speed: float = 1.0,
        base: str = "toy",
        keys: Keys | None = None,
    ) -> Node:
        """A peer with a toy learner that wants to go to `target`. It does nothing before `start`.

        `lean` is what its own text adds to that; a device of `speed` 2 trains in half the time.
        """
        keys = keys or ToyKeys.of(config.name)

        def make() -> Learns:
            return ToyLearner(
                np.array(target, np.float32),
                lean=None if lean is None else np.array(lean, np.float32),
                base=base,
                train_s=TRAIN_S / speed,
            )

        node = Node(len(self.nodes), config, keys, make, speed, Core(config, keys, None), make())
        self.nodes.append(node)
        self._by_id[keys.peer_id] = node
        return node

    def start(self, node: Node) -> None:
        """Start, or start again from what its disk holds, and connect it with everybody alive."""
        node.beginnings.append(node.disk)
        node.core = Core(node.config, node.keys, node.disk)
        node.learner = node.make_learner()
        node.alive, node.stopped = True, None
        node.life += 1
        node.seen.clear()
        self._send(0.0, node, Started())
        for other in self.nodes:
            self._link(node, other)

    def crash(self, node: Node) -> None:
        """The process is gone in this instant; only its disk remains."""
        node.alive = False
        for other in self.nodes:
            self._unlink(node, other)

    def cut(self, one: Node, other: Node) -> None:
        self._cuts.add(frozenset((one.index, other.index)))
        self._unlink(one, other)

    def heal(self, one: Node, other: Node) -> None:
        self._cuts.discard(frozenset((one.index, other.index)))
        self._link(one, other)

    def tell(self, node: Node, event: Event) -> None:
        """Make something happen to a peer, now and once."""
        self._send(0.0, node, event)

    # -- time ---------------------------------------------------------------------------------------

    def run(
        self, *, seconds: float, until: Callable[[], bool] = lambda: False, most: int = 1_000_000
    ) -> None:
        """Let virtual time pass. Raises `RuntimeError` after `most` events: a world that spins is a fault."""
        end = self.now + seconds
        for _ in range(most):
            if until() or not self._heap or self._heap[0][0] > end:
                self.now = self.now if until() else end
                return
            self.now, _, index, life, event = heapq.heappop(self._heap)
            node = self.nodes[index]
            if node.alive and node.life == life:
                self._arrive(node, event)
        raise RuntimeError(f"more than {most} events in {seconds} virtual seconds")

    def _arrive(self, node: Node, event: Event | _Written) -> None:
        match event:
            case _Written():
                node.disk = event.saved
                self._send(self._conditions.disk_s, node, Stored(generation=event.saved.generation))
            case Heard():
                self._hear(node, event)
            case Connected(peer=peer) | Disconnected(peer=peer) if peer in self._by_id:
                # News of a connection that ended, or came back, while the news was on its way.
                if self._linked(node, self._by_id[peer]) == isinstance(event, Connected):
                    self._happen(node, event)
            case _:
                self._happen(node, event)

    def _happen(self, node: Node, event: Event) -> list[Effect]:
        effects = node.core.handle(event, self.now)
        self.log.append(Happened(self.now, node.index, node.life, event, tuple(effects)))
        line = f"{self.now!r} {node.index} {event!r} {effects!r}"
        self._trace = digest_of(self._trace, line.encode())
        for effect in effects:
            self._perform(node, effect)
        return effects

    def _send(self, delay_s: float, node: Node, event: Event | _Written) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (self.now + delay_s, self._sequence, node.index, node.life, event))

    # -- effects ------------------------------------------------------------------------------------

    def _perform(self, node: Node, effect: Effect) -> None:
        match effect:
            case Open() | Train() | Weigh() | Evaluate() | Merge():
                took = TRAIN_S / node.speed if isinstance(effect, Train) else 0.0
                self._send(took, node, node.learner.answer(effect))
            case Store():
                self._send(self._conditions.disk_s, node, _Written(effect.saved))
            case Publish():
                node.published.append(effect.frame)
                node.seen.add(digest_of(effect.frame))
                self._flood(node, effect.frame)
            case Pull():
                self._pull(node, effect)
            case Greet():
                self._greet(node, effect)
            case WakeAt():
                self._send(max(0.0, effect.at - self.now), node, Woke(timer=effect.timer))
            case Drop():
                self._drop(node, effect.peer)
            case Report():
                node.records.append(effect.record)
            case Stop():
                node.stopped = effect
                self.crash(node)
            case Judge() | Answer():
                """Taken from the effects by whoever asked."""
            case _:
                assert_never(effect)

    def _hear(self, node: Node, event: Heard) -> None:
        """Let the peer judge a frame that it has not judged yet, and pass on what it accepts."""
        digest = digest_of(event.frame)
        if digest in node.seen:
            return
        for effect in self._happen(node, event):
            if isinstance(effect, Judge) and effect.verdict is not Verdict.IGNORE:
                node.seen.add(digest)
                if effect.verdict is Verdict.ACCEPT:
                    self._flood(node, event.frame)

    def _flood(self, node: Node, frame: bytes) -> None:
        """To every neighbour that has not seen it: routers spare each other repetitions, nearly always."""
        digest = digest_of(frame)
        for other in self._neighbours(node):
            if digest not in other.seen and not self._is_lost():
                self._send(self._delay(), other, Heard(frame=frame, via=node.keys.peer_id))

    def _pull(self, node: Node, effect: Pull) -> None:
        for source in effect.sources:
            data = None if self._is_lost() else self._blob(node, source, effect.digest)
            if data is not None and len(data) == effect.size and digest_of(data) == effect.digest:
                event = Pulled(request=effect.request, content=Content(effect.digest, data))
                self._send(2 * self._delay(), node, event)
                return
        self._send(self._delay(), node, NotPulled(request=effect.request, why="nobody has it"))

    def _blob(self, node: Node, source: PeerId, digest: bytes) -> bytes | None:
        if source in self.outsiders:
            return self.outsiders[source].get(digest)
        other = self._by_id.get(source)
        return other.core.blob(digest) if other and self._linked(node, other) else None

    def _greet(self, node: Node, effect: Greet) -> None:
        other = self._by_id.get(effect.peer)
        if other is None or not self._linked(node, other) or self._is_lost():
            return
        for answer in self._happen(other, Greeted(greeting=effect.greeting, via=node.keys.peer_id)):
            if isinstance(answer, Answer) and answer.reply is not None:
                self._send(2 * self._delay(), node, Replied(reply=answer.reply, via=effect.peer))

    # -- the network --------------------------------------------------------------------------------

    def _link(self, one: Node, other: Node) -> None:
        pair = frozenset((one.index, other.index))
        if one is other or not (one.alive and other.alive) or pair in self._cuts | self._links:
            return
        if self._welcomes(one, other) and self._welcomes(other, one):
            self._links.add(pair)
            self._send(self._delay(), one, Connected(peer=other.keys.peer_id))
            self._send(self._delay(), other, Connected(peer=one.keys.peer_id))

    def _unlink(self, one: Node, other: Node) -> None:
        pair = frozenset((one.index, other.index))
        if pair in self._links:
            self._links.discard(pair)
            self._send(self._delay(), one, Disconnected(peer=other.keys.peer_id))
            self._send(self._delay(), other, Disconnected(peer=one.keys.peer_id))

    def _drop(self, node: Node, peer: PeerId) -> None:
        other = self._by_id.get(peer)
        if other is None:
            self._send(0.0, node, Disconnected(peer=peer))
        else:
            self._unlink(node, other)

    def _welcomes(self, one: Node, other: Node) -> bool:
        return one.core.welcome(other.keys.peer_id, self.now)

    def _neighbours(self, node: Node) -> list[Node]:
        return [other for other in self.nodes if self._linked(node, other)]

    def _linked(self, one: Node, other: Node) -> bool:
        return frozenset((one.index, other.index)) in self._links

    def _is_lost(self) -> bool:
        return self._rng.random() < self._conditions.loss

    def _delay(self) -> float:
        return self._conditions.latency_s * (1 + self._rng.random())


@dataclass(frozen=True, slots=True)
class _Written:
    """The disk has it. No event of the core's: a crash may come between this and `Stored`, not before it."""

    saved: Saved
