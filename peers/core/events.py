"""What happens to a peer: everything the core is ever told, in the past tense.

The learner's answers (`gossipllm.work`) are events as they are. Bytes from others arrive unchecked, as
`Heard`, `Greeted`, `Replied` and `Pulled`: checking them is a decision, and decisions are the core's. What
the network finds wrong below that level comes as `Misbehaved`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gossipllm.work import Declined, Evaluated, Failed, Merged, Opened, Trained, Weighed
from wire.digest import Content

PeerId: TypeAlias = str
"""A libp2p peer id as text, a function of the peer's public key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Patience with the neighbours of this round is over."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopening:
    """Time to start the learner again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingAgain:
    """Time to try once more what the disk refused."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """Time to compare what we know with a neighbour (anti-entropy)."""


Timer: TypeAlias = Deadline | Reopening | SavingAgain | Comparing


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The process runs; the state on disk was given to the core when it was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerLost:
    """The learner's process died by itself. Whatever was asked of it will not be answered."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A frame came on the announcement topic. The answer is a `Judge` among the effects."""

    frame: bytes
    via: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeted:
    """A neighbour greets us. The answer is an `Answer` among the effects."""

    greeting: bytes
    via: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """A neighbour answered our greeting."""

    reply: bytes
    via: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    peer: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    peer: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A blob came; its length and digest are the announced ones, its meaning unchecked."""

    request: int
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPulled:
    request: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """This generation of our state survives a crash."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotStored:
    generation: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Woke:
    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaved:
    """A connected peer broke the protocol below the announcements; `fine` is negative."""

    peer: PeerId
    field: str
    why: str
    fine: float


Learned: TypeAlias = Opened | Trained | Weighed | Declined | Evaluated | Merged | Failed

Event: TypeAlias = (
    Started
    | LearnerLost
    | Heard
    | Greeted
    | Replied
    | Connected
    | Disconnected
    | Pulled
    | NotPulled
    | Stored
    | NotStored
    | Woke
    | Misbehaved
    | Learned
)
