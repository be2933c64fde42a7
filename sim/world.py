"""A world of peers in virtual time: a heap of (time, sequence, peer, event), and nothing that is not in it.

Every peer is the core that runs on devices, and every message passes through the real codec; only the
learner, the disk and the network are played. A world is a function of its seed and of what is done to it, so a
fault found here is replayed by its seed. The trace is a digest over every event, effect and time: two runs are the
same run if their traces are equal.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, assert_never

import numpy as np

from gossipllm.work import Answer as LearnerAnswer
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
    WakeAt,
)
from peers.core.events import (
    Connected,
    Disconnected,
    Event,
    Greeted,
    Heard,
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
    def answer(self, request: Request) -> LearnerAnswer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Of every message: `latency_s` plus up to as much again by lot; lost with probability `loss`."""

    latency_s: float = 0.05
    loss: float = 0.0


@dataclass(slots=True, eq=False)
class Node:
    """A peer in the world, alive or not. `life` counts its starts: what an earlier life awaited never comes."""

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
    published: list[bytes] = field(default_factory=lambda: list[bytes]())
    records: list[Record] = field(default_factory=lambda: list[Record]())
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
        self._heap: list[tuple[float, int, int, int, Event]] = []
        self._sequence = 0
        self._cuts: set[frozenset[int]] = set()
        self._trace = b""
        self.log: list[tuple[float, int, Event]] = []

    @property
    def trace(self) -> str:
        return self._trace.hex()

    # -- peers --------------------------------------------------------------------------------------

    def add(
        self,
        config: CoreConfig,
        target: list[float],
        *,
        speed: float = 1.0,
        base: str = "toy",
        keys: Keys | None = None,
    ) -> Node:
        """A peer with a toy learner that wants to go to `target`. It does nothing before `start`."""
        keys = keys or ToyKeys.of(config.name)

        def make() -> Learns:
            return ToyLearner(np.array(target, np.float32), base=base)

        node = Node(len(self.nodes), config, keys, make, speed, Core(config, keys, None), make())
        self.nodes.append(node)
        self._by_id[keys.peer_id] = node
        return node

    def start(self, node: Node) -> None:
        """Start, or start again from what its disk holds, and connect it with everybody alive."""
        node.core = Core(node.config, node.keys, node.disk)
        node.learner = node.make_learner()
        node.alive, node.stopped = True, None
        node.life += 1
        self._send(0.0, node, Started())
        for other in self.nodes:
            if other is not node and other.alive and not self._cut(node, other):
                self._link(node, other)

    def crash(self, node: Node) -> None:
        """The process is gone in this instant; only its disk remains."""
        node.alive = False
        for other in self.nodes:
            if other.alive:
                self._send(self._delay(), other, Disconnected(peer=node.keys.peer_id))

    def cut(self, one: Node, other: Node) -> None:
        self._cuts.add(frozenset((one.index, other.index)))
        self._send(0.0, one, Disconnected(peer=other.keys.peer_id))
        self._send(0.0, other, Disconnected(peer=one.keys.peer_id))

    def heal(self, one: Node, other: Node) -> None:
        self._cuts.discard(frozenset((one.index, other.index)))
        if one.alive and other.alive:
            self._link(one, other)

    def tell(self, node: Node, event: Event) -> None:
        """Make something happen to a peer now."""
        self._send(0.0, node, event)

    # -- time ---------------------------------------------------------------------------------------

    def run(self, *, seconds: float, until: Callable[[], bool] = lambda: False, most: int = 1_000_000) -> None:
        """Let virtual time pass. Raises `RuntimeError` after `most` events: a world that spins is a fault."""
        end = self.now + seconds
        for _ in range(most):
            if until() or not self._heap or self._heap[0][0] > end:
                self.now = self.now if until() else end
                return
            self.now, _, index, life, event = heapq.heappop(self._heap)
            node = self.nodes[index]
            if node.alive and node.life == life:
                self._happen(node, event)
        raise RuntimeError(f"more than {most} events in {seconds} virtual seconds")

    def _happen(self, node: Node, event: Event) -> list[Effect]:
        effects = node.core.handle(event, self.now)
        self.log.append((self.now, node.index, event))
        line = f"{self.now!r} {node.index} {event!r} {effects!r}"
        self._trace = digest_of(self._trace, line.encode())
        for effect in effects:
            self._perform(node, effect)
        return effects

    def _send(self, delay_s: float, node: Node, event: Event) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (self.now + delay_s, self._sequence, node.index, node.life, event))

    # -- effects ------------------------------------------------------------------------------------

    def _perform(self, node: Node, effect: Effect) -> None:
        match effect:
            case Open() | Train() | Weigh() | Evaluate() | Merge():
                took = TRAIN_S / node.speed if isinstance(effect, Train) else 0.0
                self._send(took, node, node.learner.answer(effect))
            case Store():
                node.disk = effect.saved
                self._send(0.0, node, Stored(generation=effect.saved.generation))
            case Publish():
                node.published.append(effect.frame)
                self._flood(node, effect.frame)
            case Pull():
                self._pull(node, effect)
            case Greet():
                self._greet(node, effect)
            case WakeAt():
                self._send(max(0.0, effect.at - self.now), node, Woke(timer=effect.timer))
            case Drop():
                self._send(0.0, node, Disconnected(peer=effect.peer))
            case Report():
                node.records.append(effect.record)
            case Stop():
                node.stopped, node.alive = effect, False
            case Judge() | Answer():
                """Taken from the effects by whoever asked."""
            case _:
                assert_never(effect)

    def _flood(self, node: Node, frame: bytes) -> None:
        for other in self._reachable(node):
            if self._rng.random() >= self._conditions.loss:
                self._send(self._delay(), other, Heard(frame=frame, via=node.keys.peer_id))

    def _pull(self, node: Node, effect: Pull) -> None:
        for source in effect.sources:
            other = self._by_id.get(source)
            data = other.core.blob(effect.digest) if other and self._connects(node, other) else None
            if data is not None and len(data) == effect.size and digest_of(data) == effect.digest:
                event = Pulled(request=effect.request, content=Content(effect.digest, data))
                self._send(2 * self._delay(), node, event)
                return
        self._send(self._delay(), node, NotPulled(request=effect.request, why="nobody has it"))

    def _greet(self, node: Node, effect: Greet) -> None:
        other = self._by_id.get(effect.peer)
        if other is None or not self._connects(node, other):
            return
        for answer in self._happen(other, Greeted(greeting=effect.greeting, via=node.keys.peer_id)):
            if isinstance(answer, Answer) and answer.reply is not None:
                self._send(2 * self._delay(), node, Replied(reply=answer.reply, via=effect.peer))

    # -- the network --------------------------------------------------------------------------------

    def _link(self, one: Node, other: Node) -> None:
        self._send(self._delay(), one, Connected(peer=other.keys.peer_id))
        self._send(self._delay(), other, Connected(peer=one.keys.peer_id))

    def _reachable(self, node: Node) -> list[Node]:
        return [other for other in self.nodes if other is not node and self._connects(node, other)]

    def _connects(self, one: Node, other: Node) -> bool:
        return one.alive and other.alive and not self._cut(one, other)

    def _cut(self, one: Node, other: Node) -> bool:
        return frozenset((one.index, other.index)) in self._cuts

    def _delay(self) -> float:
        return self._conditions.latency_s * (1 + self._rng.random())
