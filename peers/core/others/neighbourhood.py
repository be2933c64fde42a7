"""The neighbourhood: what other peers announced, what of it was fetched, and whom to wait for.

Everything from outside is checked, cheapest check first, before it costs memory or time: the announcement in
`admission.py` and `receiving.py`, then its blobs (`blobs/fetching.py`). Announcements reach a peer by GossipSub and,
because GossipSub repairs neither a late join nor a healed partition, by comparison (`connected/greetings.py`).

A neighbourhood is made when the learner is open, because every check depends on the terms: the network's reference
set, and the base model and the units of an adapter, which say whose updates can be merged (`connected/relation.py`).
Until then `peers.core.starting` answers for this peer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, KeysView, Mapping
from operator import attrgetter

from gossipllm.work import PushedShare
from peers.core.config import CoreConfig
from peers.core.effects import Answer, Effect, Judge
from peers.core.events import PeerId
from peers.core.others.admission import MALFORMED_FINE, Keys, Ledger
from peers.core.others.awaiting import Awaiting
from peers.core.others.blobs.fetching import Fetching
from peers.core.others.blobs.holders import Holders
from peers.core.others.blobs.pulls import ContentFault
from peers.core.others.blobs.shares import receivers
from peers.core.others.connected.company import Company
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.others.connected.greetings import Greetings
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.others.news import News
from peers.core.others.offers import Offers
from peers.core.others.partners import Partners
from peers.core.others.receiving import Receiving
from peers.core.saved import SavedHeard
from peers.core.terms import Terms
from trust.record.history import LeftOut
from trust.rows.token_clock import TokenClaim
from wire.codec import decode_announcement, decode_greeting, decode_reply
from wire.errors import WireError

UNBOUND_FINE = -10.0
"""For predictions that are not those of the update. It takes some rounds to a ban, because a device that computes in
another precision may be out of line by chance."""


class Neighbourhood:
    """What this peer knows of the others: announcements, blobs, partners and scores.

    A peer that sends bad bytes is fined for their form, the author of an announcement for its content. `heard` is what
    was accepted before this process began, `announced` the last round that this peer announced before, with the digest
    where that is known.
    """

    def __init__(
        self,
        config: CoreConfig,
        keys: Keys,
        terms: Terms,
        connections: ConnectedPeers,
        heard: Iterable[SavedHeard] = (),
        *,
        announced: tuple[int, bytes | None] = (-1, None),
    ) -> None:
        self._config = config
        self._keys = keys
        self._connections = connections
        offers = Offers(terms, config, keys.public_key)
        self._relations = offers.relations
        self._ledger = Ledger(terms, offers, seated=connections.seats.seated)
        self._ledger.restore(heard, keys)
        self._ledger.announced(*announced)
        self.terms = terms
        self.inbox = Inbox()
        self.scores = connections.scores
        self.seats = connections.seats
        self._holders = Holders(self.inbox, connections, max_age=config.trust.max_age)
        self._partners = Partners(config, keys.peer_id, connections, self.inbox, self._holders)
        self._company = Company(keys.peer_id, terms, offers.relations, self.inbox, connections)
        self._greetings = Greetings(config, terms, self.inbox, connections, self._company)
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
            holders=self._holders,
            complaints=connections.complaints,
            fine=self._fine_author,
        )
        # Shares of mass are totals: what is replayed adds nothing.
        self._news = News() if config.confirms and not terms.pushes else None
        self._receiving = Receiving(
            keys,
            ledger=self._ledger,
            offers=offers,
            connections=connections,
            company=self._company,
            inbox=self.inbox,
            partners=self._partners,
            fetching=self.fetching,
            news=self._news,
            fine=self.fine,
            fine_sender=self.fine_sender,
        )

    # -- what the round asks ------------------------------------------------------------------------

    @property
    def me(self) -> PeerId:
        return self._keys.peer_id

    @property
    def weights(self) -> Mapping[PeerId, float]:
        """Each neighbour's weight in the last round's row."""
        return self._partners.weights

    @property
    def connected(self) -> KeysView[PeerId]:
        """In the order in which they connected."""
        return self._connections.peers

    def heard_rows(self) -> tuple[SavedHeard, ...]:
        """What was accepted, to be saved."""
        return self._ledger.rows()

    def lately(self) -> list[ReceivedAnnouncement]:
        """The newest announcement of each author of our base that was heard within `trust.max_age` rounds."""
        return [one for one in self.inbox.lately(self._config.trust.max_age) if one.relation == "merges"]

    def token_claims(self) -> list[TokenClaim]:
        """What each author of our base ever claimed to have trained on, by its newest announcement."""
        proves = self._config.confirms
        return [
            TokenClaim(
                tokens=one.announcement.tokens_total,
                connection=one.author if one.author in self.connected else one.via,
                proven=not proves or self.seats.seated(one.author),
            )
            for one in self.inbox.newest()
            if one.relation == "merges"
        ]

    def reads_byte_rows(self) -> bool:
        """Whether anybody may read byte rows of this peer: an author lately heard has another tokenizer. Nobody asks
        for them, and no peer of its own tokenizer fetches them, so a network of one tokenizer has none."""
        lately = self.inbox.lately(self._config.trust.max_age)
        return self.terms.makes_byte_rows and not all(
            self._relations.same_tokenizer(one.announcement.fingerprints) for one in lately
        )

    def holds(self) -> bytes:
        """The authors to name in this peer's next announcement as those whose blobs it holds."""
        return b"" if self.terms.pushes else self._holders.names(self.partners())

    def expects(self, digest: bytes, asker: PeerId) -> bool:
        """Whether this peer is about to hold a blob that `asker` can get nowhere nearer."""
        return self._holders.expects(digest, asker)

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
        """Authors lately heard whose blobs are fetched in this round."""
        return self._partners.chosen()

    def usable(self) -> list[ReceivedAnnouncement]:
        """Complete announcements of partners, young enough to be merged or compared, sorted by author."""
        chosen = self.partners()
        young = self.inbox.lately_complete(self._config.trust.max_age)
        return sorted([one for one in young if one.author in chosen], key=_author)

    def set_own(self, frame: bytes) -> None:
        """Take this peer's latest announcement, to give to neighbours that compare."""
        own = decode_announcement(frame)
        self._ledger.announced(own.announcement.round, own.digest)
        self._holders.set_own(own.announcement)
        self._partners.at_least(self._greetings.set_own(frame))
        if self._news is not None:
            self._news.replayed(self._keys.peer_id, own.announcement, self.inbox.turns)

    def turn(
        self, weights: dict[PeerId, float], round_: int, taught: Mapping[PeerId, float] | None = None
    ) -> None:
        """End our round `round_` with this row, and this one of those who taught: announcements grow a round older,
        partners are drawn again."""
        self._partners.begin(round_ + 1, weights, taught)
        self.inbox.turn(forget_after=self._config.trust.max_age)

    def seek(self, seeks: bool) -> None:
        """Whether this round asks anybody for help: without, nothing is fetched and nobody awaited."""
        self._partners.seek(seeks)

    def take_newcomer(self) -> bool:
        """Whether an author was heard for the first time since the last call."""
        return self._partners.take_newcomer()

    def rest(self) -> None:
        """Stop fetching until `wake`: this peer merges nothing."""
        self._partners.rest()
        self.fetching.contexts.want(None)

    def wake(self) -> None:
        """Fetch again what can be merged, from this peer's next announcement on."""
        self._partners.wake()

    # -- connections --------------------------------------------------------------------------------

    def connect(self, peer: PeerId, now: float, *, group: str) -> list[Effect]:
        refused = self._connections.connect(peer, now, group=group)
        return refused or [self._greetings.greeting(peer)]

    def disconnect(self, peer: PeerId) -> None:
        self._connections.disconnect(peer)

    def block(self, peers: Collection[PeerId]) -> list[Effect]:
        """Take nothing of these peers any more, in place of those blocked before."""
        effects = self._connections.block(peers)
        for peer in peers:
            if self.inbox.newest_of(peer) is not None:
                self.inbox.remove(peer)
                self._partners.removed()
        return effects

    def greet_all(self) -> list[Effect]:
        """Greet every connected peer: those that connected before the learner was open."""
        return [self._greetings.greeting(peer) for peer in self.connected]

    def compare(self, now: float) -> list[Effect]:
        """Greet the next neighbour in turn, and report what was too much to be reported at once."""
        summary = self._connections.complaints.summary(now)
        return [*self._greetings.next(self.connected), *summary, *self._company.lonely()]

    def fine_sender(self, peer: PeerId, field: str, why: str, amount: float, now: float) -> list[Effect]:
        """`ConnectedPeers.fine_sender`, and let go of everything of a peer that is banned by it."""
        effects = self._connections.fine_sender(peer, field, why, amount, now)
        self._let_go_if_banned(peer, now)
        return effects

    def fine(self, peer: PeerId, field: str, why: str, amount: float, now: float) -> list[Effect]:
        """`ConnectedPeers.fine`, and let go of everything of a peer that is banned by it."""
        effects = self._connections.fine(peer, field, why, amount, now)
        self._let_go_if_banned(peer, now)
        return effects

    def _let_go_if_banned(self, peer: PeerId, now: float) -> None:
        if self.inbox.newest_of(peer) is not None and self.scores.banned(peer, now):
            self.inbox.remove(peer)
            self._partners.removed()

    def tried(self, peer: PeerId, left: LeftOut | None, now: float) -> list[Effect]:
        """Note what a neighbour did to this peer by itself; `left` says why it was left out of the row."""
        match left:
            case None:
                self.seats.gained(peer)
            case "harmful" | "loud":
                self.seats.harmed(peer)
            case "unbound":
                self.seats.forfeit(peer)
                return self.fine(
                    peer, "evidence", "its predictions are not those of its update", UNBOUND_FINE, now
                )
            case "own" | "twin" | "useless" | "paused":
                """Says nothing about what it is worth."""
        return []

    def _fine_author(self, author: PeerId, fault: ContentFault, now: float) -> list[Effect]:
        return self.fine(author, fault.field, fault.why, fault.fine, now)

    # -- comparing what is known --------------------------------------------------------------------

    def greeted(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        if not self._greetings.may_ask(via, now):
            return [Answer(reply=None)]
        try:
            greeting = decode_greeting(data)
        except WireError as error:
            return [Answer(reply=None), *self.fine_sender(via, error.field, error.why, MALFORMED_FINE, now)]
        reply = self._greetings.reply(greeting)
        met = self._greetings.meet(via, greeting.net, greeting.fingerprints, now)
        return [Answer(reply=reply), *met]

    def replied(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            reply = decode_reply(data)
        except WireError as error:
            return self.fine_sender(via, error.field, error.why, MALFORMED_FINE, now)
        effects = self._greetings.meet(via, reply.net, reply.fingerprints, now)
        for frame in reply.frames:
            _, more = self._receiving.receive(frame, via, now, asked=True)
            effects += more
        return effects

    # -- announcements ------------------------------------------------------------------------------

    def heard(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        verdict, effects = self._receiving.receive(data, via, now)
        return [Judge(verdict=verdict), *effects]


_author = attrgetter("author")
