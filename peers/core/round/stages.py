"""Where in its round a peer is. One value at a time; each says what it waits for.

    Opening -> Training -> Saving -> Gathering -> (Fitting ->) Choosing -> (Shrinking ->) Merging -> Training ...
                                                                                                \\-> Resting

Whenever the learner is lost, the stage is Opening again, and goes on from the state that was last saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from gossipllm.work import PushedShare
from peers.core.events import PeerId
from peers.core.others.inbox import ReceivedAnnouncement
from peers.core.round.choosing import Choice
from trust.rows.evidence import Distance
from trust.rows.rows import Candidate, Counts
from wire.digest import Content


class Participant(msgspec.Struct, frozen=True):
    """A neighbour in this round's comparison: its entry, what of it counts, and its staleness when we asked.

    The update is None where none was wanted: what was pushed to us stands in `Participants.shares`. The contents stand
    beside the entry because the inbox may let go of them while the round goes on. `distances` and `own` are as the
    learner measured them, empty until it has, or where nothing is to be measured.
    """

    entry: ReceivedAnnouncement
    update: Content | None
    evidence: Content | None
    age: int
    distances: tuple[Distance, ...] = ()
    own: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """The learner loads (`request` is its answer's), or waits out a pause after it died (None)."""

    request: int | None


@dataclass(frozen=True, slots=True)
class Training:
    """`receivers` are whom mass is pushed to, with their keys; `context` the fetched one that the learner was given."""

    request: int
    receivers: Mapping[PeerId, bytes] = field(default_factory=dict[PeerId, bytes])
    context: Content | None = None


@dataclass(frozen=True, slots=True)
class Saving:
    """The announcement is signed and waits for the disk."""

    generation: int


@dataclass(slots=True)
class Gathering:
    """Waiting for neighbours. `weighing`: request -> whom we asked about; `weighed`: author -> member.

    `over` says that patience ended, `leaving` that nobody is asked about any more: a neighbour that announces
    again and again must not keep us here. `asked` is the announcement of each author that we last asked about,
    `looked` what there was to ask about when we last looked: while it is the same, nobody new is here.
    """

    since: float
    over: bool = False
    leaving: bool = False
    looked: tuple[bool, int, frozenset[PeerId]] | None = None
    asked: dict[PeerId, ReceivedAnnouncement] = field(default_factory=dict[PeerId, ReceivedAnnouncement])
    weighing: dict[int, Participant] = field(default_factory=dict[int, Participant])
    weighed: dict[PeerId, Participant] = field(default_factory=dict[PeerId, Participant])
    declined: set[PeerId] = field(default_factory=set[PeerId])


@dataclass(frozen=True, slots=True)
class Participants:
    """Who takes part in this round's row, and how long they took to gather.

    `own_loss` is this peer's on its trust split after its local steps; `previous` the last round's weights; `me` its
    own text, by the count that `tokens_count` names. `shares` are what was pushed to it, where that takes the place
    of a row.
    """

    members: tuple[Participant, ...]
    gathered_s: float
    own_loss: float
    previous: Mapping[PeerId, float]
    me: Counts
    shares: tuple[PushedShare, ...]


@dataclass(frozen=True, slots=True)
class Fitting:
    """A row is being learned."""

    request: int
    company: Participants


@dataclass(frozen=True, slots=True)
class Choosing:
    """Candidates are being measured. The last row measured is keeping everything."""

    request: int
    company: Participants
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Shrinking:
    """Nothing beat keeping everything; the best proposal is tried nearer to it."""

    request: int
    company: Participants
    candidates: tuple[Candidate, ...]
    tried: tuple[tuple[float | None, float], ...]


@dataclass(frozen=True, slots=True)
class Merging:
    """`tried` lists what was measured, none where there was nothing to choose between. Where mass is pushed, what
    came is being taken in, and the row is all one's own."""

    request: int
    company: Participants
    choice: Choice
    tried: tuple[tuple[float | None, float], ...]


@dataclass(frozen=True, slots=True)
class Resting:
    """All rounds are done; what we have is still served, and neighbours may still ask."""


Stage: TypeAlias = (
    Opening | Training | Saving | Gathering | Fitting | Choosing | Shrinking | Merging | Resting
)
