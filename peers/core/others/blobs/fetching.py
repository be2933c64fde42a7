"""Blobs of others: asked for where they are worth it, checked when they come, kept as long as there is room."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from peers.core.config import CoreConfig
from peers.core.effects import Effect
from peers.core.events import PeerId
from peers.core.others.blobs.contexts import ContextExchange
from peers.core.others.blobs.pulls import ContentFault, Fetch, Pulls
from peers.core.others.blobs.shares import ArrivedShares
from peers.core.others.complaints import Complaints
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.terms import Terms
from wire.digest import Content

HELD_PER_PARTNER = 2
"""Neighbours whose updates are held, for each one fetched from: partners change, and what was fetched of the
last ones counts for some rounds. Guess; it bounds the memory that others can make us use."""


class NeighbourView(Protocol):
    """What fetching asks of the neighbourhood."""

    @property
    def connected(self) -> Collection[PeerId]: ...

    @property
    def weights(self) -> Mapping[PeerId, float]: ...

    def partners(self) -> frozenset[PeerId]: ...

    def lately(self) -> list[ReceivedAnnouncement]: ...


class Fetching:
    def __init__(
        self,
        config: CoreConfig,
        terms: Terms,
        *,
        inbox: Inbox,
        around: NeighbourView,
        complaints: Complaints,
        fine: Callable[[PeerId, ContentFault, float], list[Effect]],
    ) -> None:
        requests = itertools.count(1)
        self._most_held = HELD_PER_PARTNER * config.round.most_partners
        self._inbox = inbox
        self._around = around
        self._complaints = complaints
        self._fine = fine
        self._pushes = terms.pushes
        self.pulls = Pulls(terms, requests)
        self.arrived = ArrivedShares(self._most_held)
        most_bytes = min(terms.context_bytes, config.round.most_context_mb * 10**6)
        self.contexts = ContextExchange(terms.context_keys, most_bytes=most_bytes, requests=requests)

    def fetch(self, entry: ReceivedAnnouncement) -> list[Effect]:
        """Pulls for what is missing of this entry, if it is worth them and its author's last ones ended."""
        if not entry.fit or entry.refused or entry.complete or entry.author not in self._around.partners():
            return []
        for kind in () if self._pushes else entry.missing():
            held = self._inbox.find(kind, entry.ref(kind).digest)
            if held is not None:
                self._inbox.hold(entry, kind, held)
        if entry.complete or self.pulls.busy(entry.author):
            return []
        connected = tuple(self._around.connected)
        return [self.pulls.begin(entry, kind, connected) for kind in entry.missing()]

    def fetch_missing(self) -> list[Effect]:
        """Ask for what is missing of this round's partners; what was asked for and failed, again."""
        effects: list[Effect] = []
        for entry in [one for one in self._inbox.newest() if not one.complete]:
            effects += self.fetch(entry)
        return [*effects, *self.fetch_context()]

    def fetch_context(self) -> list[Effect]:
        return [*self.contexts.fetch(self._around.lately(), self._around.weights, self._around.connected)]

    def pulled(self, request: int, content: Content, now: float) -> list[Effect]:
        fetch = self.pulls.end(request)
        if fetch is None:
            self.contexts.ends(request, content)
            return []
        entry = fetch.entry
        if content.digest != entry.ref(fetch.kind).digest or self._inbox.newest_of(entry.author) is None:
            return []
        fault = self.pulls.check(fetch, content)
        if fault is None:
            self._take(fetch, content)
            return self.fetch_missing()
        entry.refused = True
        return [*self._fine(entry.author, fault, now), *self.fetch_missing()]

    def not_pulled(self, request: int, why: str, now: float) -> list[Effect]:
        fetch = self.pulls.end(request)
        if fetch is None:
            self.contexts.ends(request, None)
            return []
        author = fetch.entry.author
        complaint = self._complaints.about(author, f"{fetch.kind}.pull", why, now)
        newest = self._inbox.newest_of(author)
        if newest is None:
            return [*complaint]
        newest.failures += 1
        if newest is fetch.entry:
            return [*complaint]
        return [*complaint, *self.fetch(newest)]

    def _take(self, fetch: Fetch, content: Content) -> None:
        if self._pushes and fetch.kind == "update":
            self.arrived.put(fetch.entry.author, fetch.entry.announcement.round, content)
        self._inbox.hold(fetch.entry, fetch.kind, content)
        self._make_room()

    def _make_room(self) -> None:
        """Where too much is held, let go of what was fetched of partners no more, the oldest first."""
        excess = self._inbox.held - self._most_held
        if excess <= 0:
            return
        chosen = self._around.partners()
        others = [one for one in self._inbox.complete() if one.author not in chosen]
        for one in sorted(others, key=self._inbox.age, reverse=True)[:excess]:
            self._inbox.let_go(one.author)
