"""What a peer wants done: everything the core ever asks for, in the imperative.

An effect carries all that is needed to perform it. Requests to the learner (`gossipllm.work.Request`) are
effects as they are. Within one list the order matters: the driver begins effects in the order given.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from gossipllm.work import Request
from peers.core.events import PeerId, Timer
from peers.core.saved import Saved
from trust.history import Record


class Verdict(Enum):
    """What to do with a frame: pass it on, drop it, or drop it and fine whoever passed it on."""

    ACCEPT = "accept"
    IGNORE = "ignore"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Make this state survive a crash; answer `Stored` or `NotStored`. Later generations never overtake."""

    saved: Saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    frame: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """Fetch a blob from the first of `sources` that gives it; answer `Pulled` or `NotPulled`."""

    request: int
    digest: bytes
    size: int
    sources: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greet:
    """Send this greeting; the answer is `Replied`, or nothing."""

    peer: PeerId
    greeting: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The answer to `Heard`."""

    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to `Greeted`; None closes the stream without one."""

    reply: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeAt:
    at: float
    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Close the connection with this peer."""

    peer: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A fact for the history and for people."""

    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End this peer: code 0 when its rounds are done, 2 for what its user can mend."""

    code: int
    why: str


Effect: TypeAlias = Request | Store | Publish | Pull | Greet | Judge | Answer | WakeAt | Drop | Report | Stop
