"""A peer of a simulated world: core, learner, disk, connections and traffic."""

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
from sim.world.costs import VirtualCosts
from trust.record.history import Entry, Record, Round


class SimulatedLearner(Protocol):
    def ask(self, request: Request) -> Callable[[], LearnerAnswer]:
        """Take a question, and return a function that gives its answer.

        The function is called once, at the virtual time of the answer, and never if the peer crashed meanwhile. So
        answers may be computed late, and many together. Their `seconds` are replaced by virtual ones.
        """
        ...


@dataclass(slots=True, eq=False)
class SimulatedPeer:
    """A peer of a world, running or not.

    `core` and `learner` are those of its present life, or of its last one while it does not run, so that a test can
    look at a crashed peer. Before the first start they are the ones that it will start with.
    `life` counts its starts: events planned for an earlier life are dropped. `beginnings` are the states from which
    its lives began, for replays. `away` counts the reasons (late, outage, crash) for which it should not run now.
    `disk_before` is the generation before `disk`, `announced_round` the newest in the disk's list of announced rounds,
    `disk_full` says that every write is refused. `clock_ahead_s` is how far its clock is ahead of the world's; it may
    change only while the peer does not run.
    `links` are its connected peers, in the order of connection, `mesh` those of them to whom it passes frames on,
    `dialled` those to whom it began the connection, `seen` the frames that it judged or sent, `free_at` the time at
    which its uplink has sent everything. `sent` and `received` are bytes by kind, as a device counts them:
    announcements with every copy, blobs without the few bytes of their requests, greetings and replies.
    """

    index: int
    group: str
    """The address group that other peers see it come from."""
    id: PeerId
    config: CoreConfig
    keys: Keys
    make_learner: Callable[[], SimulatedLearner]
    speed: float
    core: Core
    learner: SimulatedLearner
    alive: bool = False
    life: int = 0
    away: int = 0
    disk: Saved | None = None
    disk_before: Saved | None = None
    announced_round: int = -1
    disk_full: bool = False
    clock_ahead_s: float = 0.0
    stopped: Stop | None = None
    beginnings: list[Saved | None] = field(default_factory=list["Saved | None"])
    history: list[Entry] = field(default_factory=list[Entry])
    links: dict[PeerId, SimulatedPeer] = field(default_factory=dict[PeerId, "SimulatedPeer"])
    mesh: dict[PeerId, SimulatedPeer] = field(default_factory=dict[PeerId, "SimulatedPeer"])
    dialled: set[PeerId] = field(default_factory=set[PeerId])
    seen: set[bytes] = field(default_factory=set[bytes])
    free_at: float = 0.0
    sent: Counter[str] = field(default_factory=Counter[str])
    received: Counter[str] = field(default_factory=Counter[str])
    costs: VirtualCosts = field(default_factory=VirtualCosts)

    @property
    def records(self) -> list[Record]:
        return [entry.record for entry in self.history]

    @property
    def rounds(self) -> list[Round]:
        return [record for record in self.records if isinstance(record, Round)]

    def lives(self, life: int) -> bool:
        """Whether the peer runs, and was not restarted since this life began."""
        return self.alive and self.life == life
