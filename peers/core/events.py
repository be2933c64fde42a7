"""What happens to a peer: everything the core is ever told, in the past tense.

The learner's answers (`gossipllm.work`) are events as they are. Bytes from others arrive unchecked, as
`Heard`, `Greeted`, `Replied` and `Pulled`: checking them is a decision, and decisions are the core's. What
the network finds wrong below that level comes as `Misbehaved`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gossipllm.work import Declined, Evaluated, Failed, Fitted, Merged, Opened, Trained, Weighed
from wire.digest import Content

PeerId: TypeAlias = str
"""A libp2p peer id as text, a function of the peer's public key."""


class _Told(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """What all events and timers share: frozen, without cycles, and named where they are written down."""


class Deadline(_Told, frozen=True, kw_only=True):
    """Patience with the neighbours of this round is over."""

    round: int


class Reopening(_Told, frozen=True, kw_only=True):
    """Time to start the learner again."""


class SavingAgain(_Told, frozen=True, kw_only=True):
    """Time to try once more what the disk refused."""

    generation: int


class Comparing(_Told, frozen=True, kw_only=True):
    """Time to compare what we know with a neighbour (anti-entropy)."""


Timer: TypeAlias = Deadline | Reopening | SavingAgain | Comparing


class Started(_Told, frozen=True, kw_only=True):
    """The process runs; the state on disk was given to the core when it was made."""


class LearnerLost(_Told, frozen=True, kw_only=True):
    """The learner's process died by itself. Whatever was asked of it will not be answered."""

    why: str


class Heard(_Told, frozen=True, kw_only=True):
    """A frame came on the announcement topic. The answer is a `Judge` among the effects."""

    frame: bytes
    via: PeerId


class Greeted(_Told, frozen=True, kw_only=True):
    """A neighbour greets us. The answer is an `Answer` among the effects."""

    greeting: bytes
    via: PeerId


class Replied(_Told, frozen=True, kw_only=True):
    """A neighbour answered our greeting."""

    reply: bytes
    via: PeerId


class Connected(_Told, frozen=True, kw_only=True):
    peer: PeerId


class Disconnected(_Told, frozen=True, kw_only=True):
    peer: PeerId


class Pulled(_Told, frozen=True, kw_only=True):
    """A blob came; its length and digest are the announced ones, its meaning unchecked."""

    request: int
    content: Content


class NotPulled(_Told, frozen=True, kw_only=True):
    request: int
    why: str


class Stored(_Told, frozen=True, kw_only=True):
    """This generation of our state survives a crash."""

    generation: int


class NotStored(_Told, frozen=True, kw_only=True):
    generation: int
    why: str


class Woke(_Told, frozen=True, kw_only=True):
    timer: Timer


class Misbehaved(_Told, frozen=True, kw_only=True):
    """A connected peer broke the protocol below the announcements; `fine` is negative."""

    peer: PeerId
    field: str
    why: str
    fine: float


LearnerAnswer: TypeAlias = Opened | Trained | Weighed | Declined | Evaluated | Fitted | Merged | Failed

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
    | LearnerAnswer
)
