"""A peer in the world: its core, its learner, its disk, and what the world knows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gossipllm.work import Request
from peers.core.config import CoreConfig
from peers.core.core import Core
from peers.core.effects import Stop
from peers.core.events import LearnerAnswer, PeerId
from peers.core.others.admission import Keys
from peers.core.saved import Saved
from trust.record.history import Entry, Record, Round


class SimulatedLearner(Protocol):
    def ask(self, request: Request) -> Callable[[], LearnerAnswer]:
        """Take a question. The function returned gives its answer; it is called once, when virtual time has come
        to it, and never if the peer crashed meanwhile. Answers may thus be computed late, and many together.

        The `seconds` of an answer count for nothing: the world says how long it took.
        """
        ...


@dataclass(slots=True, eq=False)
class SimulatedPeer:
    """A peer, alive or not. `life` counts its starts: what an earlier life awaited never comes.

    `beginnings` are the states with which its lives began, for whoever wants to live them again. `away` counts the
    reasons for which it should not run now. `links` are the peers to whom a connection stands, in the order
    in which they were made; `seen` the frames that it judged or sent, `free_at` when its uplink has sent what
    it was given. `sent` and `received` are bytes by kind, as a device counts them: announcements a hop each,
    blobs without the few bytes that ask for them, greetings and replies.
    """

    index: int
    id: PeerId
    config: CoreConfig
    keys: Keys
    make_learner: Callable[[], SimulatedLearner]
    speed: float
    core: Core
    learner: SimulatedLearner | None = None
    alive: bool = False
    life: int = 0
    away: int = 0
    disk: Saved | None = None
    stopped: Stop | None = None
    beginnings: list[Saved | None] = field(default_factory=list["Saved | None"])
    history: list[Entry] = field(default_factory=list[Entry])
    links: dict[PeerId, SimulatedPeer] = field(default_factory=dict[PeerId, "SimulatedPeer"])
    seen: set[bytes] = field(default_factory=set[bytes])
    free_at: float = 0.0
    sent: Counter[str] = field(default_factory=Counter[str])
    received: Counter[str] = field(default_factory=Counter[str])

    @property
    def records(self) -> list[Record]:
        return [entry.record for entry in self.history]

    @property
    def rounds(self) -> list[Round]:
        return [one for one in self.records if isinstance(one, Round)]

    def lives(self, life: int) -> bool:
        """Whether it is alive, and in this of its lives."""
        return self.alive and self.life == life
