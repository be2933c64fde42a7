"""Fetching blobs of other peers: asked for where they can be merged, checked on arrival, kept while there is room.

Where predictions are committed to before they are shown (`showing.py`), they are asked for only between this peer's
own announcement and the end of its gathering: what it saw while it trains would make its next announcement late for
the peer that showed it. Of an announcement that came after this peer's own, only the author shows them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from peers.core.config import CoreConfig
from peers.core.effects import Effect
from peers.core.events import PeerId
from peers.core.others.blobs.contexts import ContextExchange
from peers.core.others.blobs.holders import Holders
from peers.core.others.blobs.pulls import BAD_PACKING_FINE, ContentFault, Fetch, PackedForm, Pulls
from peers.core.others.blobs.shares import ArrivedShares
from peers.core.others.blobs.showing import Showing
from peers.core.others.inbox import Inbox, Kind, ReceivedAnnouncement
from peers.core.others.standing.budgets import FETCHES_OF_AUTHOR
from peers.core.others.standing.complaints import Complaints
from peers.core.terms import Terms
from wire.digest import NO_DIGEST, Content
from wire.errors import WireError

HELD_PER_PARTNER = 2
"""Complete announcements held for each partner: partners change, and what was fetched from earlier ones counts for
some rounds. Guess; it bounds the memory that other peers can make this one use."""


class NeighbourView(Protocol):
    """The part of `Neighbourhood` that fetching reads."""

    @property
    def connected(self) -> Collection[PeerId]: ...

    @property
    def weights(self) -> Mapping[PeerId, float]: ...

    def partners(self) -> frozenset[PeerId]: ...

    def lately(self) -> list[ReceivedAnnouncement]: ...


class Fetching:
    """Pulls, shares and contexts of one network, and the inbox that takes what was checked."""

    def __init__(
        self,
        config: CoreConfig,
        terms: Terms,
        *,
        inbox: Inbox,
        neighbours: NeighbourView,
        holders: Holders,
        complaints: Complaints,
        fine: Callable[[PeerId, ContentFault, float], list[Effect]],
    ) -> None:
        requests = itertools.count(1)
        self._most_held = HELD_PER_PARTNER * config.round.most_partners
        self._inbox = inbox
        self._neighbours = neighbours
        self._holders = holders
        self._complaints = complaints
        self._fine = fine
        self._pushes = terms.pushes
        self._commits = config.commits
        self._looking = not self._commits
        self._own_arrived = 0
        """How many announcements had come when this peer published its last one."""
        self.showing = Showing(config, inbox)
        self._begun = Counter[PeerId]()
        """How many announcements of each author were asked for in this period."""
        self.pulls = Pulls(terms, requests)
        self.arrived = ArrivedShares(self._most_held)
        most_bytes = min(terms.context_bytes, config.round.most_context_mb * 10**6)
        self.contexts = ContextExchange(terms.context_keys, most_bytes=most_bytes, requests=requests)

    def fetch(self, entry: ReceivedAnnouncement) -> list[Effect]:
        """Pulls for the missing blobs of this announcement, if its author is a partner and has no fetch open."""
        if (
            not (entry.mergeable or entry.comparable)
            or entry.refused
            or entry.complete
            or entry.author not in self._neighbours.partners()
        ):
            return []
        for kind in () if self._pushes else entry.missing():
            held = self._inbox.find(kind, entry.ref(kind).digest)
            if held is not None:
                self._inbox.hold(entry, kind, held)
        if entry.complete or self.pulls.busy(entry.author) or self._begun[entry.author] >= FETCHES_OF_AUTHOR:
            return []
        pulls = [
            self.pulls.begin(entry, kind, asked, self._packing(entry, kind))
            for kind in (() if entry.put_off else entry.missing())
            if (asked := self._askable(entry, kind)) is not None
        ]
        self._begun[entry.author] += bool(pulls)
        return [*pulls]

    def published(self) -> list[Effect]:
        """This peer's announcement is published: ask for all that is missing."""
        self._looking = True
        self._own_arrived = self._inbox.arrived
        return self.retry()

    def close(self) -> None:
        """The round has gathered: see no predictions before the next announcement."""
        self._looking = not self._commits

    def retry(self) -> list[Effect]:
        """Ask for all missing blobs of this round's partners, also those whose last fetch failed or was put off. A new
        period begins, in which each author is fetched from `FETCHES_OF_AUTHOR` times at most."""
        self._begun.clear()
        for entry in self._inbox.newest():
            entry.put_off = False
        return self.fetch_missing()

    def fetch_missing(self) -> list[Effect]:
        """Ask for missing blobs of this round's partners, but for those that were put off."""
        effects: list[Effect] = []
        for entry in self._inbox.incomplete():
            effects += self.fetch(entry)
        return [*effects, *self.fetch_context()]

    def fetch_context(self) -> list[Effect]:
        if not self.contexts.seeks:
            return []
        return [
            *self.contexts.fetch(
                self._neighbours.lately(), self._neighbours.weights, self._neighbours.connected
            )
        ]

    def pulled(self, request: int, content: Content, now: float) -> list[Effect]:
        fetch = self.pulls.end(request)
        if fetch is None:
            self.contexts.ends(request, content)
            return []
        entry = fetch.entry
        if content.digest != fetch.ref.digest or self._inbox.newest_of(entry.author) is None:
            return []
        if fetch.packing is not None:
            try:
                whole = self.pulls.unpacked(fetch, content)
            except WireError as error:
                # The update may be good all the same, and the author pays for what it made others fetch.
                entry.only_whole = True
                fault = ContentFault(f"update.{error.field}", error.why, BAD_PACKING_FINE)
                return [*self._fine(entry.author, fault, now), *self.fetch(entry)]
            entry.packed, content = content, whole
        fault = self.pulls.check(fetch, content)
        if fault is None:
            self._take(fetch, content)
            return self.fetch_missing()
        entry.refused = True
        return [*self._fine(entry.author, fault, now), *self.fetch_missing()]

    def not_pulled(self, request: int, why: str, *, later: bool, now: float) -> list[Effect]:
        """Take note that a fetch failed; `later` says that a source put it off, which is nobody's fault."""
        fetch = self.pulls.end(request)
        if fetch is None:
            self.contexts.ends(request, None)
            return []
        author = fetch.entry.author
        newest = self._inbox.newest_of(author)
        if fetch.packing is not None and not later and newest is not None:
            # Those who hold the update need not hold this form of it.
            fetch.entry.only_whole = True
            return self.fetch(newest)
        complaint = [] if later else self._complaints.about(author, f"{fetch.kind}.pull", why, now)
        if newest is None:
            return [*complaint]
        if later:
            fetch.entry.put_off = True
            newest.delays += 1
        else:
            newest.failures += 1
        if newest is fetch.entry:
            return [*complaint]
        return [*complaint, *self.fetch(newest)]

    def _askable(self, entry: ReceivedAnnouncement, kind: Kind) -> Sequence[PeerId] | None:
        """The connected peers that may be asked for a blob now, None where nobody may."""
        connected = tuple(self._neighbours.connected)
        if not self._holders.near(entry):
            connected = tuple(self._holders.of(entry, kind))
            if not connected:
                return None
        if kind == "update" or not self._commits:
            return connected
        if not self._looking or entry.turn > self._inbox.turns:
            return None
        if entry.arrived <= self._own_arrived:
            return connected
        return (entry.author,) if entry.author in connected else None

    def _packing(self, entry: ReceivedAnnouncement, kind: Kind) -> PackedForm | None:
        """The smallest packed form of an update whose base is held; None for the update as it is."""
        if kind != "update" or self._pushes or entry.only_whole:
            return None
        forms: list[PackedForm] = []
        for one in entry.announcement.packed or ():
            base = None if one.base == NO_DIGEST else self._inbox.find("update", one.base)
            if base is not None or one.base == NO_DIGEST:
                forms.append(PackedForm(one.blob, base))
        return min(forms, key=lambda form: form.ref.size, default=None)

    def _take(self, fetch: Fetch, content: Content) -> None:
        if self._pushes and fetch.kind == "update":
            self.arrived.put(fetch.entry.author, fetch.entry.announcement.round, content)
        self._inbox.hold(fetch.entry, fetch.kind, content)
        self._make_room()

    def _make_room(self) -> None:
        """Above `most_held`, of those that merge and of those that do not, let go of blobs of peers that are no longer
        partners, oldest first."""
        if self._inbox.held <= self._most_held:
            return
        chosen = self._neighbours.partners()
        for merges in (True, False):
            held = [one for one in self._inbox.complete() if (one.relation == "merges") == merges]
            others = [one for one in held if one.author not in chosen]
            excess = max(0, len(held) - self._most_held)
            for one in sorted(others, key=self._inbox.age, reverse=True)[:excess]:
                self._inbox.let_go(one.author)
