"""The others: who is connected, what they announced, what of it is here, and how they behaved.

Everything that comes from outside is checked, cheapest first, before anything costs memory or time: the
announcement here and in `admission.py`, then its blobs (`fetching.py`). Announcements reach us by GossipSub and,
because that repairs neither a late join nor a healed partition, by comparison (`greetings.py`).
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from gossipllm.work import PushedShare
from peers.core.config import CoreConfig
from peers.core.effects import Answer, Drop, Effect, Judge, Verdict
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
from peers.core.others.blobs.fetching import Fetching
from peers.core.others.blobs.pulls import ContentFault
from peers.core.others.blobs.shares import receivers
from peers.core.others.complaints import Complaints
from peers.core.others.greetings import Greetings
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.others.offers import Offers
from peers.core.others.partners import partners
from peers.core.others.scores import Scores
from peers.core.terms import Terms
from wire.codec import decode_greeting, decode_reply, without_payload
from wire.digest import Content, short
from wire.errors import WireError

AWAITED_ROUNDS = 2
"""Rounds of ours in which somebody who said nothing is still waited for. Guess."""
FAILED_FETCHES = 2
"""Fetches from an author that must fail, one after the other, before it is not waited for. Guess."""


@dataclass(frozen=True, slots=True)
class _Ground:
    """What stands on the terms, and so begins with them."""

    terms: Terms
    offers: Offers
    ledger: Ledger
    fetching: Fetching


class Neighbourhood:
    """Not thread-safe and without a clock of its own: `now` is always given, in seconds."""

    def __init__(self, config: CoreConfig, keys: Keys) -> None:
        self._config = config
        self._keys = keys
        self._ground: _Ground | None = None
        self._connected: dict[PeerId, None] = {}
        self._complaints = Complaints(keys.peer_id)
        self._weights: dict[PeerId, float] = {}
        self._round = 0
        self._chosen: frozenset[PeerId] | None = None
        self._merging = config.trust.strategy != "local"
        self.inbox = Inbox()
        self.scores = Scores(config.scores)
        self._greetings = Greetings(config, self.inbox, self._complaints)

    # -- what the round asks ------------------------------------------------------------------------

    @property
    def terms(self) -> Terms:
        return self._known.terms

    @property
    def fetching(self) -> Fetching:
        return self._known.fetching

    @property
    def _known(self) -> _Ground:
        assert self._ground is not None, "the terms are known once the learner is open"
        return self._ground

    @property
    def weights(self) -> Mapping[PeerId, float]:
        """What each neighbour had of the last round's row."""
        return self._weights

    @property
    def _fetching(self) -> bool:
        """Whether anything will be merged in this round."""
        return self._merging and self._round >= self._config.round.warmup_rounds

    @property
    def connected(self) -> KeysView[PeerId]:
        """In the order in which they came."""
        return self._connected.keys()

    def lately(self) -> list[ReceivedAnnouncement]:
        """The newest announcement of each author of whom we heard within `max_age` rounds."""
        return self.inbox.lately(self._config.trust.max_age)

    def receivers(self, round_: int) -> dict[PeerId, bytes]:
        """Whom to push mass to in this round, with their keys; nobody where nothing is merged."""
        if not self.terms.pushes or not self._merging or round_ < self._config.round.warmup_rounds:
            return {}
        return receivers(
            self.lately(), me=self._keys.peer_id, round_=round_, near=lambda peer: peer in self._connected
        )

    def shares(self, now: float) -> tuple[PushedShare, ...]:
        """What was pushed to us and is not taken in, but for the mass of those who are banned."""
        return self.fetching.arrived.waiting(lambda peer: self.scores.banned(peer, now))

    def is_awaited(self, peer: PeerId) -> bool:
        """Whether this connected peer can be expected to announce something this round.

        One that was silent for two rounds of ours has finished, is slow or is gone; one of which we have heard
        nothing in the two rounds since we met is no better, and neither is one that announces what twice in a
        row could not be fetched: not worth the patience. With a barrier, all that are connected are waited for, and
        only whoever was silent for more than `max_age` rounds is given up.
        """
        newest = self.inbox.newest_of(peer)
        most_age = self._config.trust.max_age
        if newest is None:
            rounds = most_age + 1 if self._config.round.barrier else AWAITED_ROUNDS
            return self._fetching and self._greetings.met_within(peer, rounds)
        hopeful = (
            newest.fit and not newest.refused and newest.failures < FAILED_FETCHES and peer in self.partners()
        )
        if self._config.round.barrier:
            return hopeful
        # One that ran ahead of us is due again when we have caught up, not when its word is old by our count.
        behind = self.inbox.staleness(newest, self._round)
        return hopeful and behind < AWAITED_ROUNDS and self.inbox.age(newest) <= most_age

    def partners(self) -> frozenset[PeerId]:
        """Those lately heard whose updates are worth fetching in this round."""
        if self._chosen is None:
            self._chosen = self._drawn() if self._fetching else frozenset()
        return self._chosen

    def _drawn(self) -> frozenset[PeerId]:
        return partners(
            {one.author: self._weights.get(one.author, 0.0) for one in self.lately() if one.fit},
            me=self._keys.peer_id,
            round_=self._round,
            most=self._config.round.most_partners,
            explore=self._config.round.explore,
        )

    def usable(self) -> list[ReceivedAnnouncement]:
        """Complete entries of partners, young enough for a merge, in order of author."""
        chosen = self.partners()
        young = self.inbox.lately_complete(self._config.trust.max_age)
        return sorted([one for one in young if one.author in chosen], key=_author)

    def own(self, frame: bytes, norms: dict[str, float]) -> None:
        """Our own latest announcement, to give to whoever compares, and our tensors' sizes as a yardstick."""
        before = self._fetching
        self._round = max(self._round, self._greetings.own(frame))
        if self._fetching != before:
            self._chosen = None
        self.fetching.pulls.own(norms)

    def turn(self, weights: dict[PeerId, float], round_: int) -> None:
        """Our round `round_` ended with this row: what is here is a round older, partners are drawn anew."""
        self._weights = weights
        self._round = round_ + 1
        self._chosen = None
        self.inbox.turn(forget_after=self._config.trust.max_age)

    def rest(self) -> None:
        """Nothing will be merged any more, so nothing need be fetched."""
        self._merging = False
        self._chosen = None
        self.fetching.contexts.want(None)

    # -- connections --------------------------------------------------------------------------------

    def open(self, terms: Terms) -> list[Effect]:
        offers = Offers(terms, self._config, self._keys.public_key)
        fetching = Fetching(
            self._config,
            terms,
            inbox=self.inbox,
            around=self,
            complaints=self._complaints,
            fine=self._fine_author,
        )
        self._ground = _Ground(terms, offers, Ledger(terms, offers), fetching)
        return [self._greetings.greeting(terms, peer) for peer in self._connected]

    def connect(self, peer: PeerId, now: float) -> list[Effect]:
        if self.scores.unwelcome(peer, now):
            return [Drop(peer=peer)]
        self._connected[peer] = None
        return [self._greetings.greeting(self._ground.terms, peer)] if self._ground else []

    def disconnect(self, peer: PeerId) -> None:
        self._connected.pop(peer, None)

    def compare(self) -> list[Effect]:
        """Greet the next neighbour in turn."""
        return self._greetings.next(self._ground.terms, self._connected) if self._ground else []

    def fine(self, peer: PeerId, field: str, why: str, amount: float, now: float) -> list[Effect]:
        """Report what a peer did, and let it cost `amount` (negative, or 0)."""
        self.scores.fine(peer, amount, now)
        effects: list[Effect] = [*self._complaints.about(peer, field, why, now)]
        if self.scores.banned(peer, now):
            self.inbox.remove(peer)
            self._chosen = None
        if self.scores.unwelcome(peer, now) and peer in self._connected:
            effects.append(Drop(peer=peer))
        return effects

    def _fine_author(self, author: PeerId, fault: ContentFault, now: float) -> list[Effect]:
        return self.fine(author, fault.field, fault.why, fault.fine, now)

    # -- comparing what is known --------------------------------------------------------------------

    def greeted(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            greeting = decode_greeting(data)
        except WireError as error:
            return [Answer(reply=None), *self.fine(via, error.field, error.why, MALFORMED_FINE, now)]
        if self._ground is None:
            return [Answer(reply=None)]
        terms = self._ground.terms
        reply = self._greetings.reply(terms, greeting)
        met = self._greetings.meet(terms, via, greeting.net, greeting.fingerprints, now)
        return [Answer(reply=reply), *met]

    def replied(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            reply = decode_reply(data)
        except WireError as error:
            return self.fine(via, error.field, error.why, MALFORMED_FINE, now)
        if self._ground is None:
            return []
        effects = self._greetings.meet(self._ground.terms, via, reply.net, reply.fingerprints, now)
        for frame in reply.frames:
            _, more = self._admit(self._ground, frame, via, now)
            effects += more
        return effects

    # -- announcements ------------------------------------------------------------------------------

    def heard(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        if self._ground is None:
            return [Judge(verdict=Verdict.IGNORE)]
        verdict, effects = self._admit(self._ground, data, via, now)
        return [Judge(verdict=verdict), *effects]

    def _admit(
        self, ground: _Ground, data: bytes, via: PeerId, now: float
    ) -> tuple[Verdict, Sequence[Effect]]:
        banned = self.scores.banned
        match ground.ledger.admit(data, self._keys, now, banned=lambda author: banned(author, now)):
            case Rejected(field, why, amount):
                return Verdict.REJECT, self.fine(via, field, why, amount, now)
            case Ignored(field, why, mismatch=True):
                return Verdict.IGNORE, self._complaints.about(via, field, why, now)
            case Ignored():
                return Verdict.IGNORE, []
            case Equivocated(author, round_, first, second):
                why = f"round {round_}: two announcements {short(first)}, {short(second)}"
                # Passed on, once: whoever has the first only learns of the fork by the second.
                return Verdict.ACCEPT, self.fine(author, "announcement.round", why, EQUIVOCATION_FINE, now)
            case Accepted() as accepted:
                return self._take(ground, accepted, data, via, now)

    def _take(
        self, ground: _Ground, accepted: Accepted, data: bytes, via: PeerId, now: float
    ) -> tuple[Verdict, Sequence[Effect]]:
        announcement, payload = accepted.frame.announcement, accepted.frame.payload
        wanted = ground.offers.wanted(announcement)
        entry = ReceivedAnnouncement(accepted.author, announcement, without_payload(data), via, wanted)
        if payload:
            evidence = Content(announcement.evidence.digest, payload)
            fault = ground.fetching.pulls.check_evidence(evidence)
            if fault is not None:
                return Verdict.IGNORE, self._fine_author(accepted.author, fault, now)
            entry.evidence = evidence
        said: list[Effect] = []
        if accepted.obstacle is not None:
            entry.fit = False
            said += self._complaints.about(accepted.author, *accepted.obstacle, now)
        if not self.inbox.put(entry, dear=self._dear() if self.inbox.full else ()):
            return Verdict.IGNORE, said
        if self._chosen is not None and entry.author not in self._chosen:
            self._chosen = None
        return Verdict.ACCEPT, [*said, *ground.fetching.fetch(entry)]

    def _dear(self) -> set[PeerId]:
        """Who is connected, and who was worth something to us."""
        return {author for author, weight in self._weights.items() if weight > 0} | self._connected.keys()

    # -- blobs --------------------------------------------------------------------------------------

    def fetch_missing(self) -> list[Effect]:
        return self._ground.fetching.fetch_missing() if self._ground else []

    def pulled(self, request: int, content: Content, now: float) -> list[Effect]:
        return self._ground.fetching.pulled(request, content, now) if self._ground else []

    def not_pulled(self, request: int, why: str, now: float) -> list[Effect]:
        return self._ground.fetching.not_pulled(request, why, now) if self._ground else []


_author = attrgetter("author")
