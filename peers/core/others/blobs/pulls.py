"""What is fetched: one announcement of each author at a time, checked before it counts.

At most one announcement of an author is on its way. An author that announces faster than its blobs travel is
therefore fetched from as fast as they do, each time its newest, and never has a heap of fetches open. A fetch
that failed is tried again when the round publishes and whenever we compare, by way of other neighbours.
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
"""Other neighbours it takes to fine the author of a large tensor. Fewer, and the small one may be us."""
BAD_CONTENT_FINE = -50.0
MAX_NORMS = 64
"""Authors whose tensors' sizes are remembered, the last ones."""
MAX_GOOD = 64
"""Digests of predictions that passed the check: the same bytes need no second look."""
MAX_OPEN = 64
"""Fetches on their way at a time. Guess; partners are fewer, and authors come and go."""
RELAYS = 2
"""Neighbours asked for a blob after its author and the one who told us of it."""


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
    """Fetches on their way, and the check of what they bring."""

    def __init__(self, terms: Terms, requests: Iterator[int]) -> None:
        self._terms = terms
        self._requests = requests
        self._open: dict[int, Fetch] = {}
        self._own_norms: dict[str, float] = {}
        self._good: dict[bytes, None] = {}
        self._norms: dict[PeerId, dict[str, float]] = {}

    def own(self, norms: dict[str, float]) -> None:
        """The root mean square of each of our own tensors that we announce, a yardstick for others'."""
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
        """The fetch that was answered; None for an answer that nobody awaits."""
        return self._open.pop(request, None)

    def check_evidence(self, content: Content) -> ContentFault | None:
        if content.digest in self._good:
            return None
        try:
            check_evidence(content.data, self._terms.rows)
        except WireError as error:
            return ContentFault(error.field, error.why, BAD_CONTENT_FINE)
        self._good[content.digest] = None
        if len(self._good) > MAX_GOOD:
            del self._good[next(iter(self._good))]
        return None

    def check(self, fetch: Fetch, content: Content) -> ContentFault | None:
        """What is wrong with a blob that came, if anything is."""
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
        # Refused or not, it is one voice in the median; else a newcomer would go on refusing everybody.
        self._norms.pop(author, None)
        self._norms[author] = norms
        if len(self._norms) > MAX_NORMS:
            del self._norms[next(iter(self._norms))]
        for name, theirs in norms.items():
            # Not everybody holds everything, and a root mean square is comparable whatever the rank.
            holders = [one[name] for one in others if name in one]
            median = statistics.median(holders or [0.0])
            # Where nobody has anything yet, as B at the start, the largest of our own tensors is the measure.
            usual = max(self._own_norms.get(name, 0.0), median) or max(self._own_norms.values(), default=0.0)
            if 0 < usual * MAX_NORM_RATIO < theirs:
                why = f"root mean square is {theirs / usual:.3g} times the usual"
                return ContentFault(
                    f"update.{name}", why, LARGE_NORM_FINE if len(holders) >= WITNESSES else 0.0
                )
        return None


def _sources(entry: ReceivedAnnouncement, connected: Sequence[PeerId], *, turn: int) -> tuple[PeerId, ...]:
    """The author and the one who told us, where they are near, then others in turn."""
    near = [one for one in dict.fromkeys((entry.author, entry.via)) if one in connected]
    others = [one for one in connected if one not in near]
    start = turn % len(others) if others else 0
    relays = (others[start:] + others[:start])[:RELAYS]
    return tuple(near + relays) or (entry.author,)
