"""A hostile peer of an explored world: some identities, what they overhear, and one act that they repeat.

It reaches every honest peer, whatever the topology, and stays within what a network allows: it is heard only while a
connection stands that the honest peer tolerates, and only as the identity that the connection belongs to. It hears
all that honest peers publish.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from peers.core.effects import Drop, Publish
from peers.core.events import Connected, Disconnected, Event, Greeted, Heard, PeerId, Replied
from sim.exploration.hostile.frames import Frames
from sim.toy.units import Form
from sim.world.keys import ToyKeys
from sim.world.simulated_peer import SimulatedPeer
from sim.world.world import World

OVERHEARD = 200
"""Frames remembered, so that a long run takes no more memory than a short one. Guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostilePart:
    """From `at_s` to `until_s`, about every `every_s`, the `act` of that name on one honest peer."""

    act: str
    identities: int
    at_s: float
    until_s: float
    every_s: float
    seed: int


class HostilePeer:
    """The world's log must be kept (`World(logged=True)`), because it overhears from there."""

    def __init__(
        self,
        part: HostilePart,
        act: Callable[[HostilePeer, SimulatedPeer], None],
        world: World,
        form: Form,
        *,
        pushes: bool,
    ) -> None:
        self.rng = random.Random(part.seed)
        self.world = world
        self.frames = Frames(form, pushes=pushes)
        self.overheard: list[bytes] = []
        self.keys = [ToyKeys.of(f"hostile {part.seed} {number}") for number in range(part.identities)]
        self.round = 0
        """The last round of an announcement of its own."""
        self._part = part
        self._act = act
        self._links: dict[tuple[int, PeerId], int] = {}
        """(Peer, own identity) -> the peer's life in which they connected."""
        self._read = 0
        for one in self.keys:
            world.outsiders[one.peer_id] = {}

    @property
    def ids(self) -> frozenset[PeerId]:
        return frozenset(one.peer_id for one in self.keys)

    def begin(self) -> None:
        self.world.agenda.after(self._part.at_s, self._act_again, self.world.now + self._part.until_s)

    def _act_again(self, until: float) -> None:
        if self.world.now >= until:
            self._leave()
            return
        self._overhear()
        victims = [node for node in self.world.nodes if node.alive]
        if victims:
            self._act(self, self.rng.choice(victims))
        self.world.agenda.after(self._part.every_s * self.rng.uniform(0.5, 1.5), self._act_again, until)

    # -- what an act does ---------------------------------------------------------------------------

    @property
    def key(self) -> ToyKeys:
        """One of its identities, by lot."""
        return self.rng.choice(self.keys)

    def frame_heard(self, victim: SimulatedPeer, frame: bytes, key: ToyKeys) -> None:
        # The router's memory of frames ends after two minutes; what counts is that the core refuses a repetition.
        victim.seen.discard(frame)
        self._say(victim, Heard(frame=frame, via=key.peer_id), key)

    def greet(self, victim: SimulatedPeer, greeting: bytes, key: ToyKeys) -> None:
        self._say(victim, Greeted(greeting=greeting, via=key.peer_id), key)

    def reply(self, victim: SimulatedPeer, reply: bytes, key: ToyKeys) -> None:
        self._say(victim, Replied(reply=reply, via=key.peer_id), key)

    def serve(self, key: ToyKeys, digest: bytes, data: bytes) -> None:
        """Give these bytes to whoever asks this identity for this digest, right or wrong."""
        served = self.world.outsiders[key.peer_id]
        served[digest] = data
        while len(served) > OVERHEARD:
            del served[next(iter(served))]

    def disconnect(self, victim: SimulatedPeer, key: ToyKeys) -> None:
        if self._links.pop((victim.index, key.peer_id), None) == victim.life:
            self.world.tell(victim, Disconnected(peer=key.peer_id))

    def stranger(self) -> ToyKeys:
        """A fresh identity that has no connection and that no honest peer has heard of."""
        return ToyKeys.of(f"stranger {self._part.seed} {self.rng.random()}")

    # -- connections --------------------------------------------------------------------------------

    def _say(self, victim: SimulatedPeer, event: Event, key: ToyKeys) -> None:
        link = victim.index, key.peer_id
        if not victim.core.welcome(key.peer_id, self.world.clock(victim)):
            self._links.pop(link, None)
            return
        if self._links.get(link) != victim.life:
            self._links[link] = victim.life
            self.world.tell(victim, Connected(peer=key.peer_id))
        self.world.tell(victim, event)

    def _leave(self) -> None:
        for index, peer in tuple(self._links):
            victim = self.world.nodes[index]
            if self._links.pop((index, peer)) == victim.life:
                self.world.tell(victim, Disconnected(peer=peer))

    def _overhear(self) -> None:
        log = self.world.log
        for happened in log[self._read :]:
            for effect in happened.effects:
                if isinstance(effect, Publish):
                    self.overheard.append(effect.frame)
                elif isinstance(effect, Drop):
                    self._links.pop((happened.peer, effect.peer), None)
        self._read = len(log)
        del self.overheard[:-OVERHEARD]
