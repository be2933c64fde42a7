"""Receiving: what becomes of an announcement that came, whoever passed it on.

It is admitted (`admission.py`) within the budgets of its source (`standing/budgets.py`), put into the inbox, and its
blobs are fetched where its author is a partner. A peer that sends bad bytes is fined for their form, the author of an
announcement for its content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from peers.core.effects import Effect, Stop, Verdict
from peers.core.events import PeerId
from peers.core.others.admission import (
    EQUIVOCATION_FINE,
    Accepted,
    Doubled,
    Equivocated,
    Ignored,
    Keys,
    Ledger,
    Rejected,
)
from peers.core.others.blobs.fetching import Fetching
from peers.core.others.connected.company import Company
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.others.copies import doubled
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.others.news import News
from peers.core.others.offers import Offers
from peers.core.others.partners import Partners
from peers.core.others.standing.budgets import (
    ANNOUNCEMENTS_OF_SOURCE,
    BAD_CONTENT_OF_SOURCE,
    NEW_AUTHORS,
    NEW_AUTHORS_FINED,
    NEW_AUTHORS_OF_SOURCE,
    Meter,
)
from wire.codec import without_payload
from wire.digest import Content, short

FLOOD_FINE: Final = -1.0
"""For each announcement of a new author, or one with bad predictions inside, that an honest peer would not have passed
on. Twenty close the connection."""

Fine: TypeAlias = Callable[[PeerId, str, str, float, float], list[Effect]]
"""(peer, field, why, amount, now) -> effects."""


class Receiving:
    """`fine` is for what an author announced, `fine_sender` for what a neighbour sent. `news` is None where replays do
    no harm."""

    def __init__(
        self,
        keys: Keys,
        *,
        ledger: Ledger,
        offers: Offers,
        connections: ConnectedPeers,
        company: Company,
        inbox: Inbox,
        partners: Partners,
        fetching: Fetching,
        news: News | None,
        fine: Fine,
        fine_sender: Fine,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._offers = offers
        self._connections = connections
        self._company = company
        self._inbox = inbox
        self._partners = partners
        self._fetching = fetching
        self._news = news
        self._fine = fine
        self._fine_sender = fine_sender
        self._announcements = Meter(ANNOUNCEMENTS_OF_SOURCE)
        self._new_of_source = Meter(NEW_AUTHORS_OF_SOURCE)
        self._new = Meter(NEW_AUTHORS)
        self._new_fined = Meter(NEW_AUTHORS_FINED)
        self._bad_content = Meter(BAD_CONTENT_OF_SOURCE)

    def receive(
        self, data: bytes, via: PeerId, now: float, *, asked: bool = False
    ) -> tuple[Verdict, Sequence[Effect]]:
        """The verdict on a frame, and what follows from it. `asked` where this peer asked for it."""
        source, scores = self._connections.source(via), self._connections.scores

        def limit(author: PeerId, new: bool) -> Ignored | Rejected | None:
            return self._over_budget(author, via, now, source=source, new=new, asked=asked)

        verdict = self._ledger.admit(
            data,
            self._keys,
            now,
            source=source,
            banned=lambda author: scores.banned(author, now),
            limit=limit,
            answers=lambda author: author == via or not self._company.is_foreign(via),
        )
        match verdict:
            case Rejected(field, why, amount):
                return Verdict.REJECT, self._fine_sender(via, field, why, amount, now)
            case Ignored(field, why, mismatch=True):
                return Verdict.IGNORE, self._connections.complaints.about(via, field, why, now)
            case Ignored():
                return Verdict.IGNORE, []
            case Doubled(round_):
                return Verdict.IGNORE, [Stop(code=2, why=doubled(round_))]
            case Equivocated(author, round_, first, second):
                why = (
                    f"round {round_}: two announcements {short(first)}, {short(second)}; "
                    "perhaps a copy of its home runs elsewhere"
                )
                # Passed on once: a peer that holds the first announcement learns of the fork only by the second.
                return Verdict.ACCEPT, self._fine(author, "announcement.round", why, EQUIVOCATION_FINE, now)
            case Accepted() as accepted:
                self._connections.told(accepted.author, via)
                if accepted.new:
                    self._note_new(accepted.author, via, source, now)
                return self._take(accepted, data, via, now)

    def _over_budget(
        self, author: PeerId, via: PeerId, now: float, *, source: str, new: bool, asked: bool
    ) -> Ignored | Rejected | None:
        if author == via or self._connections.seats.seated(author):
            # A neighbour speaks for itself: its own rate is limited, and what it passes on must not silence it.
            return self._over_new(_itself(source), now) if new else None
        if new:
            if not asked and not self._new_fined.take(source, now):
                return Rejected("rate.authors", "more new authors than a network can have", FLOOD_FINE)
            over = self._over_new(source, now)
            if over is not None:
                return over
            if not self._new.allows("", now):
                return Ignored("rate.authors", "too many new authors")
        if not self._announcements.take(source, now):
            return Ignored("rate.announcements", "too many from one source")
        return None

    def _over_new(self, source: str, now: float) -> Ignored | None:
        if self._new_of_source.allows(source, now):
            return None
        return Ignored("rate.authors", "too many new authors from one source")

    def _note_new(self, author: PeerId, via: PeerId, source: str, now: float) -> None:
        """Count a new author now that its signature was verified: a forger must not use up these budgets."""
        if author == via:
            self._new_of_source.take(_itself(source), now)
        else:
            self._new_of_source.take(source, now)
            self._new.take("", now)

    def _take(
        self, accepted: Accepted, data: bytes, via: PeerId, now: float
    ) -> tuple[Verdict, Sequence[Effect]]:
        announcement, payload = accepted.frame.announcement, accepted.frame.payload
        entry = ReceivedAnnouncement(
            accepted.author,
            announcement,
            without_payload(data),
            via,
            self._offers.wanted(announcement),
            group=self._connections.group(via),
            relation=accepted.relation,
        )
        if payload and self._offers.relations.same_tokenizer(announcement.fingerprints):
            evidence = Content(announcement.evidence.digest, payload)
            fault = self._fetching.pulls.check_evidence(evidence)
            if fault is not None:
                fined = self._fine(accepted.author, fault.field, fault.why, fault.fine, now)
                return Verdict.IGNORE, [*fined, *self._bad_content_by(via, fault.field, now)]
            entry.evidence = evidence
        said: list[Effect] = []
        obstacle = accepted.obstacle
        if self._news is not None:
            replayed = self._news.replayed(accepted.author, announcement, self._inbox.turns)
            obstacle = obstacle or replayed
        if obstacle is not None:
            entry.usable = False
            said += self._connections.complaints.about(accepted.author, *obstacle, now)
        keepers = self._keepers() if self._inbox.full else ()
        too_late = self._fetching.showing.too_late(entry.author)
        if not self._inbox.put(entry, keepers=keepers, too_late=too_late):
            return Verdict.IGNORE, said
        self._partners.heard(entry, new=accepted.new)
        return Verdict.ACCEPT, [*said, *self._fetching.fetch(entry)]

    def _bad_content_by(self, via: PeerId, field: str, now: float) -> list[Effect]:
        # A peer of another base could not check it, and must not pay for what others make it pass on.
        if self._company.is_foreign(via) or self._bad_content.take(self._connections.source(via), now):
            return []
        why = "passes on what every peer of this network refuses"
        return self._fine_sender(via, field, why, FLOOD_FINE, now)

    def _keepers(self) -> set[PeerId]:
        """Authors that a flood of others must not push out of the inbox: connected ones, and those that proved
        themselves or have a weight in the last row."""
        weighty = {author for author, weight in self._partners.weights.items() if weight > 0}
        return weighty | self._connections.peers | self._connections.seats.all_seated()


def _itself(source: str) -> str:
    """The source of authors that are connected themselves, which have a budget apart from what is passed on."""
    return f"itself {source}"
