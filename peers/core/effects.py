"""Effects: everything that the core ever asks for, in the imperative.

An effect carries all that is needed to perform it. Requests to the learner (`gossipllm.work.Request`) are
effects as they are. Within one list the order matters: the driver begins effects in the order given.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import msgspec

from gossipllm.device.plan.choice import Chosen
from gossipllm.work import Request
from peers.core.events import PeerId, Timer
from peers.core.merge_inputs import MergeInputs
from peers.core.saved import Saved
from trust.record.history import Record


class _Wish(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Base of effects: frozen, without reference cycles, tagged by name in traces."""


class Verdict(Enum):
    """What to do with a frame: relay it, drop it, or drop it and fine the peer that relayed it."""

    ACCEPT = "accept"
    IGNORE = "ignore"
    REJECT = "reject"


class Store(_Wish, frozen=True, kw_only=True):
    """Make this state survive a crash; answer `Stored` or `NotStored`. Later generations never overtake."""

    saved: Saved


class Keep(_Wish, frozen=True, kw_only=True):
    """Keep this round's merge inputs, in place of the last round's, for `gossipllm trust explain`. No answer."""

    inputs: MergeInputs


class Adopt(_Wish, frozen=True, kw_only=True):
    """Keep the settings that this device chose, so that the next run has them, too. No answer."""

    chosen: Chosen


class Publish(_Wish, frozen=True, kw_only=True):
    frame: bytes


class Pull(_Wish, frozen=True, kw_only=True):
    """Fetch a blob from the first of `sources` that gives it; answer `Pulled` or `NotPulled`."""

    request: int
    digest: bytes
    size: int
    sources: tuple[PeerId, ...]


class Greet(_Wish, frozen=True, kw_only=True):
    """Send this greeting; the answer is `Replied`, or nothing."""

    peer: PeerId
    greeting: bytes


class Judge(_Wish, frozen=True, kw_only=True):
    """The answer to `Heard`."""

    verdict: Verdict


class Answer(_Wish, frozen=True, kw_only=True):
    """The answer to `Greeted`; None closes the stream without one."""

    reply: bytes | None


class WakeAt(_Wish, frozen=True, kw_only=True):
    at: float
    timer: Timer


class Drop(_Wish, frozen=True, kw_only=True):
    """Close the connection with this peer."""

    peer: PeerId


class Log(_Wish, frozen=True, kw_only=True, tag="Report"):
    """Write a fact into the history, and show it to people. Its tag is what traces have always called it."""

    record: Record


class Stop(_Wish, frozen=True, kw_only=True):
    """End this peer: code 0 when its rounds are done, 2 for what its user can mend."""

    code: int
    why: str


Effect: TypeAlias = (
    Request | Store | Keep | Adopt | Publish | Pull | Greet | Judge | Answer | WakeAt | Drop | Log | Stop
)
