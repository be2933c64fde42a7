"""Events: everything that the core is ever told, in the past tense.

The learner's answers (`gossipllm.work`) are events as they are. Bytes from other peers arrive unchecked, as `Heard`,
`Greeted`, `Replied` and `Pulled`: checking them is a decision, and decisions are the core's. Faults below that level
arrive as `Misbehaved`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gossipllm.work import Confirmed, Declined, Evaluated, Failed, Fitted, Merged, Opened, Trained, Weighed
from wire.digest import Content

PeerId: TypeAlias = str
"""A libp2p peer id as text, a function of the peer's public key."""


class _Told(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Base of events and timers: frozen, without reference cycles, tagged by name in traces."""


class Deadline(_Told, frozen=True, kw_only=True):
    """Timer: patience with the neighbours of this round has ended."""

    round: int


class Reopening(_Told, frozen=True, kw_only=True):
    """Timer: the learner is to be opened again."""


class SavingAgain(_Told, frozen=True, kw_only=True):
    """Timer: a state that the disk refused is to be written again."""

    generation: int


class Comparing(_Told, frozen=True, kw_only=True):
    """Timer: known announcements are to be compared with a neighbour (anti-entropy)."""


Timer: TypeAlias = Deadline | Reopening | SavingAgain | Comparing


class Started(_Told, frozen=True, kw_only=True):
    """The process runs. The state on disk was given to the core when it was made."""


class LearnerLost(_Told, frozen=True, kw_only=True):
    """The learner's process died. Its open requests will not be answered."""

    why: str

    crash: bool = False
    """Whether it ended by itself, with an exception that would come again at the same step. False where it was killed
    by a signal, memory was short, or the process was lost."""


class Heard(_Told, frozen=True, kw_only=True):
    """A frame came on the announcement topic. The answer is a `Judge` among the effects."""

    frame: bytes
    via: PeerId


class Greeted(_Told, frozen=True, kw_only=True):
    """A neighbour sent a greeting. The answer is an `Answer` among the effects."""

    greeting: bytes
    via: PeerId


class Replied(_Told, frozen=True, kw_only=True):
    """A neighbour replied to our greeting."""

    reply: bytes
    via: PeerId


class Connected(_Told, frozen=True, kw_only=True):
    """A connection with this peer stands."""

    peer: PeerId

    group: str = ""
    """The address group that the peer comes from or was found at: `v4:203.0.113.7` (an address), `v6:2001:db8:1:2`
    (a /64). Private and loopback addresses are groups like others, so peers of one machine share one. Empty where it
    is not known. Identities are free; groups are not."""

    outbound: bool = False
    """Whether this peer dialled the other one, which a stranger cannot bring about by connecting."""


class Disconnected(_Told, frozen=True, kw_only=True):
    peer: PeerId


class Pulled(_Told, frozen=True, kw_only=True):
    """A blob came. Its length and digest are the announced ones, its meaning is unchecked."""

    request: int
    content: Content


class NotPulled(_Told, frozen=True, kw_only=True):
    request: int
    why: str

    later: bool = False
    """Whether a source has the blob and put this peer off: it is busy, or shows the blob only to those that have
    announced something themselves."""


class Showed(_Told, frozen=True, kw_only=True):
    """A connected peer was given the blob with this digest, or began to get it."""

    digest: bytes
    peer: PeerId


class Stored(_Told, frozen=True, kw_only=True):
    """This generation of our state survives a crash."""

    generation: int


class NotStored(_Told, frozen=True, kw_only=True):
    """`passes`: the error may go by itself, as that of a full disk, and the write is worth another try."""

    generation: int
    why: str
    passes: bool = True


class TextChanged(_Told, frozen=True):
    """The files of this peer's own text are not what they were: new ones, or others in size or time."""


class Woke(_Told, frozen=True, kw_only=True):
    timer: Timer


class Misbehaved(_Told, frozen=True, kw_only=True):
    """A connected peer broke the protocol below the announcements; `fine` is negative. With this peer's own id: the
    other end of a connection proved to have our key, and `why` is its address."""

    peer: PeerId
    field: str
    why: str
    fine: float


class Blocked(_Told, frozen=True, kw_only=True):
    """This peer's user wants nothing of these peers: the whole list, in place of the one before."""

    peers: tuple[PeerId, ...]


LearnerAnswer: TypeAlias = (
    Opened | Trained | Weighed | Confirmed | Declined | Evaluated | Fitted | Merged | Failed
)

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
    | Showed
    | Stored
    | NotStored
    | TextChanged
    | Woke
    | Misbehaved
    | Blocked
    | LearnerAnswer
)
