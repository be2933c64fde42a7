"""The neighbourhood: what other peers announced, what of it was fetched, and whom to wait for.

Everything from outside is checked, cheapest check first, before it costs memory or time: the announcement here and
in `admission.py`, then its blobs (`blobs/fetching.py`). Announcements reach a peer by GossipSub and, because
GossipSub repairs neither a late join nor a healed partition, by comparison (`greetings.py`).

A neighbourhood is made when the learner is open, because every check depends on the terms of the network: the base
model, the units of an adapter and the reference set. Until then `peers.core.starting` answers for this peer.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping, Sequence
from operator import attrgetter

from gossipllm.work import PushedShare
from peers.core.config import CoreConfig
from peers.core.effects import Answer, Effect, Judge, Verdict
from peers.core.events import PeerId
from peers.core.others.admission import (
    EQUIVOCATION_FINE,
    MALFORMED_FINE,
    Accepted,
    Equivocated,
    Ignored,
    Keys,
    Ledger,
    Rejected,
)
from peers.core.others.awaiting import Awaiting
from peers.core.others.blobs.fetching import Fetching
from peers.core.others.blobs.pulls import ContentFault
from peers.core.others.blobs.shares import receivers
from peers.core.others.connected_peers import ConnectedPeers
from peers.core.others.greetings import Greetings
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.others.offers import Offers
from peers.core.others.partners import Partners
from peers.core.terms import Terms
from wire.codec import decode_greeting, decode_reply, without_payload
from wire.digest import Content, short
from wire.errors import WireError


class Neighbourhood:
    """What this peer knows of the others: announcements, blobs, partners and scores.

    A peer that sends bad bytes is fined for their form, the author of an announcement for its content.
    """

    def __init__(self, config: CoreConfig, keys: Keys, terms: Terms, connections: ConnectedPeers) -> None:
        self._config = config
        self._keys = keys
        self._connections = connections
        self._offers = Offers(terms, config, keys.public_key)
        self._ledger = Ledger(terms, self._offers)
        self.terms = terms
        self.inbox = Inbox()
        self.scores = connections.scores
        self.seats = connections.seats
        self._partners = Partners(config, keys.peer_id, connections, self.inbox)
        self._greetings = Greetings(config, terms, self.inbox, connections.complaints)
        self.awaiting = Awaiting(
            config,
            connections=connections,
            inbox=self.inbox,
            partners=self._partners,
            greetings=self._greetings,
        )
        self.fetching = Fetching(
            config,
            terms,
            inbox=self.inbox,
            neighbours=self,
            complaints=connections.complaints,
            fine=self._fine_author,
        )

    # -- what the round asks ------------------------------------------------------------------------

    @property
    def weights(self) -> Mapping[PeerId, float]:
        """Each neighbour's weight in the last round's row."""
        return self._partners.weights

    @property
    def connected(self) -> KeysView[PeerId]:
        """In the order in which they connected."""
        return self._connections.peers

    def lately(self) -> list[ReceivedAnnouncement]:
        """The newest announcement of each author that was heard within `trust.max_age` rounds."""
        return self.inbox.lately(self._config.trust.max_age)

    def receivers(self, round_: int) -> dict[PeerId, bytes]:
        """Peers to push mass to in this round, with their keys; empty where nothing is merged."""
        if not self.terms.pushes or not self._partners.merging_in(round_):
            return {}
        return receivers(
            self.lately(), me=self._keys.peer_id, round_=round_, near=lambda peer: peer in self.connected
        )

    def shares(self, now: float) -> tuple[PushedShare, ...]:
        """Arrived shares that are not absorbed yet, without those of banned peers."""
        return self.fetching.arrived.waiting(lambda peer: self.scores.banned(peer, now))

    def partners(self) -> frozenset[PeerId]:
        """Authors lately heard whose updates are fetched in this round."""
        return self._partners.chosen()

    def usable(self) -> list[ReceivedAnnouncement]:
        """Complete announcements of partners, young enough to be merged, sorted by author."""
        chosen = self.partners()
        young = self.inbox.lately_complete(self._config.trust.max_age)
        return sorted([one for one in young if one.author in chosen], key=_author)

    def set_own(self, frame: bytes) -> None:
        """Take this peer's latest announcement, to give to neighbours that compare."""
        self._partners.at_least(self._greetings.set_own(frame))

    def turn(self, weights: dict[PeerId, float], round_: int) -> None:
        """End our round `round_` with this row: announcements grow a round older, partners are drawn again."""
        self._partners.begin(round_ + 1, weights)
        self.inbox.turn(forget_after=self._config.trust.max_age)

    def rest(self) -> None:
        """Stop fetching: this peer has done its rounds and merges no more."""
        self._partners.rest()
        self.fetching.contexts.want(None)

    # -- connections --------------------------------------------------------------------------------

    def connect(self, peer: PeerId, now: float, *, group: str) -> list[Effect]:
        refused = self._connections.connect(peer, now, group=group)
        return refused or [self._greetings.greeting(peer)]

    def disconnect(self, peer: PeerId) -> None:
        self._connections.disconnect(peer)

    def greet_all(self) -> list[Effect]:
        """Greet every connected peer: those that connected before the learner was open."""
        return [self._greetings.greeting(peer) for peer in self.connected]

    def compare(self) -> list[Effect]:
        """Greet the next neighbour in turn."""
        return self._greetings.next(self.connected)

    def fine(self, peer: PeerId, field: str, why: str, amount: float, now: float) -> list[Effect]:
        """`ConnectedPeers.fine`, and let go of everything of a peer that is banned by it."""
        effects = self._connections.fine(peer, field, why, amount, now)
        if self.scores.banned(peer, now):
            self.inbox.remove(peer)
            self._partners.removed()
        return effects

    def _fine_author(self, author: PeerId, fault: ContentFault, now: float) -> list[Effect]:
        return self.fine(author, fault.field, fault.why, fault.fine, now)

    # -- comparing what is known --------------------------------------------------------------------

    def greeted(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            greeting = decode_greeting(data)
        except WireError as error:
            return [Answer(reply=None), *self.fine(via, error.field, error.why, MALFORMED_FINE, now)]
        reply = self._greetings.reply(greeting)
        met = self._greetings.meet(via, greeting.net, greeting.fingerprints, now)
        return [Answer(reply=reply), *met]

    def replied(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            reply = decode_reply(data)
        except WireError as error:
            return self.fine(via, error.field, error.why, MALFORMED_FINE, now)
        effects = self._greetings.meet(via, reply.net, reply.fingerprints, now)
        for frame in reply.frames:
            _, more = self._admit(frame, via, now)
            effects += more
        return effects

    # -- announcements ------------------------------------------------------------------------------

    def heard(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        verdict, effects = self._admit(data, via, now)
        return [Judge(verdict=verdict), *effects]

    def _admit(self, data: bytes, via: PeerId, now: float) -> tuple[Verdict, Sequence[Effect]]:
        banned = self.scores.banned
        match self._ledger.admit(data, self._keys, now, banned=lambda author: banned(author, now)):
            case Rejected(field, why, amount):
                return Verdict.REJECT, self.fine(via, field, why, amount, now)
            case Ignored(field, why, mismatch=True):
                return Verdict.IGNORE, self._connections.complaints.about(via, field, why, now)
            case Ignored():
                return Verdict.IGNORE, []
            case Equivocated(author, round_, first, second):
                why = f"round {round_}: two announcements {short(first)}, {short(second)}"
                # Passed on once: a peer that holds the first announcement learns of the fork only by the second.
                return Verdict.ACCEPT, self.fine(author, "announcement.round", why, EQUIVOCATION_FINE, now)
            case Accepted() as accepted:
                return self._take(accepted, data, via, now)

    def _take(
        self, accepted: Accepted, data: bytes, via: PeerId, now: float
    ) -> tuple[Verdict, Sequence[Effect]]:
        announcement, payload = accepted.frame.announcement, accepted.frame.payload
        wanted = self._offers.wanted(announcement)
        entry = ReceivedAnnouncement(
            accepted.author,
            announcement,
            without_payload(data),
            via,
            wanted,
            group=self._connections.group(via),
        )
        if payload:
            evidence = Content(announcement.evidence.digest, payload)
            fault = self.fetching.pulls.check_evidence(evidence)
            if fault is not None:
                return Verdict.IGNORE, self._fine_author(accepted.author, fault, now)
            entry.evidence = evidence
        said: list[Effect] = []
        if accepted.obstacle is not None:
            entry.mergeable = False
            said += self._connections.complaints.about(accepted.author, *accepted.obstacle, now)
        keepers = self._keepers() if self.inbox.full else ()
        too_late = self.fetching.showing.too_late(entry.author)
        if not self.inbox.put(entry, keepers=keepers, too_late=too_late):
            return Verdict.IGNORE, said
        self._partners.heard(entry)
        return Verdict.ACCEPT, [*said, *self.fetching.fetch(entry)]

    def _keepers(self) -> set[PeerId]:
        """Authors that a flood of others must not push out of the inbox: connected ones, and those in the last row."""
        return {author for author, weight in self.weights.items() if weight > 0} | self.connected


_author = attrgetter("author")
