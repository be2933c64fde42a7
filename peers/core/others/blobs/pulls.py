"""Pulls: fetches of the blobs of one announcement per author at a time, and the check of what they bring.

An author that announces faster than its blobs travel is fetched from as fast as they travel, each time its newest
announcement, and never has a heap of fetches open. A failed fetch is tried again when the round publishes and at
every comparison, from other neighbours.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from peers.core.effects import Pull
from peers.core.events import PeerId
from peers.core.others.inbox import Kind, ReceivedAnnouncement
from peers.core.terms import Terms
from wire.bounded import BoundedDict
from wire.digest import Content
from wire.errors import WireError
from wire.logits import check_evidence
from wire.messages import Announcement
from wire.units import check_offered, offer_of

MAX_NORM_RATIO = 100.0
"""A tensor whose root mean square exceeds ours and the other neighbours' median this many times is refused.
Guess, wide on purpose: to a newcomer, whose own update is still small, everybody's is large, and what is
merely harmful the guard on the trust split catches. There is no lower bound: a small update does little."""
LARGE_NORM_FINE = -5.0
WITNESSES = 2
"""Other neighbours that must hold a tensor before the author of a large one is fined. With fewer, the small one may
be ours that is out of line."""
BAD_CONTENT_FINE = -50.0
MAX_NORMS = 64
"""Authors whose tensor sizes are remembered; the one heard longest ago is forgotten first."""
MAX_GOOD = 64
"""Digests of predictions that passed the check: equal bytes are not decoded again."""
MAX_OPEN = 64
"""Fetches open at a time. Guess; partners are fewer, and authors come and go."""
RELAYS = 2
"""Neighbours asked for a blob after its author and the neighbour that passed the announcement on."""


@dataclass(frozen=True, slots=True)
class ContentFault:
    """What is wrong with a blob. `fine` is what it costs the author, 0 where it may be honest."""

    field: str
    why: str
    fine: float


class Fetch(msgspec.Struct, frozen=True):
    entry: ReceivedAnnouncement
    kind: Kind


class Pulls:
    """Open fetches by request id."""

    def __init__(self, terms: Terms, requests: Iterator[int]) -> None:
        self._terms = terms
        self._requests = requests
        self._open: dict[int, Fetch] = {}
        self._own_norms: dict[str, float] = {}
        self._good = BoundedDict[bytes, None](MAX_GOOD)
        self._norms = BoundedDict[PeerId, dict[str, float]](MAX_NORMS)

    def set_own_norms(self, norms: dict[str, float]) -> None:
        """Take the root mean square of each tensor that this peer announces, as a yardstick for the neighbours'."""
        self._own_norms.update(norms)

    def busy(self, author: PeerId) -> bool:
        if len(self._open) >= MAX_OPEN:
            return True
        return author in [one.entry.author for one in self._open.values()]

    def begin(self, entry: ReceivedAnnouncement, kind: Kind, connected: Sequence[PeerId]) -> Pull:
        request = next(self._requests)
        self._open[request] = Fetch(entry, kind)
        ref = entry.ref(kind)
        return Pull(
            request=request,
            digest=ref.digest,
            size=ref.size,
            sources=_sources(entry, connected, turn=request),
        )

    def end(self, request: int) -> Fetch | None:
        """Close and return the fetch that was answered; None for an unknown request."""
        return self._open.pop(request, None)

    def check_evidence(self, content: Content) -> ContentFault | None:
        if content.digest in self._good:
            return None
        try:
            check_evidence(content.data, self._terms.rows)
        except WireError as error:
            return ContentFault(error.field, error.why, BAD_CONTENT_FINE)
        self._good[content.digest] = None
        return None

    def check(self, fetch: Fetch, content: Content) -> ContentFault | None:
        """The fault of a fetched blob, None where there is none."""
        if fetch.kind == "evidence":
            return self.check_evidence(content)
        if self._terms.pushes:
            # Any bits are a share, and its length was announced and checked.
            return None
        try:
            self._check_offer(fetch.entry.announcement, content)
            norms = check_offered(content.data, self._terms.schema)
        except WireError as error:
            return ContentFault(error.field, error.why, BAD_CONTENT_FINE)
        return self._check_norms(fetch.entry.author, norms)

    def _check_offer(self, announcement: Announcement, content: Content) -> None:
        if offer_of(content.data, self._terms.schema) != announcement.offer:
            raise WireError("update.offer", "not the one that was announced")

    def _check_norms(self, author: PeerId, norms: dict[str, float]) -> ContentFault | None:
        others = [one for other, one in self._norms.items() if other != author]
        # Remembered even if it is refused, so that it counts in the median; else a newcomer, whose own tensors are
        # small, would go on refusing everybody.
        self._norms.renew(author, norms)
        for name, theirs in norms.items():
            # Neighbours may hold other tensors than this one. A root mean square is comparable between ranks.
            holders = [one[name] for one in others if name in one]
            median = statistics.median(holders or [0.0])
            # Where all are zero, as every B at the start, the largest of our own tensors is the measure.
            usual = max(self._own_norms.get(name, 0.0), median) or max(self._own_norms.values(), default=0.0)
            if 0 < usual * MAX_NORM_RATIO < theirs:
                why = f"root mean square is {theirs / usual:.3g} times the usual"
                return ContentFault(
                    f"update.{name}", why, LARGE_NORM_FINE if len(holders) >= WITNESSES else 0.0
                )
        return None


def _sources(entry: ReceivedAnnouncement, connected: Sequence[PeerId], *, turn: int) -> tuple[PeerId, ...]:
    """Whom to ask for a blob: the author and the neighbour that passed it on, where connected, then others in turn."""
    near = [one for one in dict.fromkeys((entry.author, entry.via)) if one in connected]
    others = [one for one in connected if one not in near]
    start = turn % len(others) if others else 0
    relays = (others[start:] + others[:start])[:RELAYS]
    return tuple(near + relays) or (entry.author,)
