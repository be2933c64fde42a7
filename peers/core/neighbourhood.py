"""The others: who is connected, what they announced, what of it is here, and how they behaved.

Everything that comes from outside is checked here, cheapest first, before anything costs memory or time: the
announcement (`admission.py`), then its blobs. Announcements reach us by GossipSub, and, because that repairs
neither a late join nor a healed partition, by comparison: on every new connection and from time to time
afterwards, we tell a neighbour what we hold and it answers with what is newer.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from gossipllm.work import Opened
from peers.core.admission import (
    EQUIVOCATION_FINE,
    MALFORMED_FINE,
    Accepted,
    Equivocated,
    Ignored,
    Keys,
    Ledger,
    Rejected,
    mismatch,
)
from peers.core.complaints import Complaints
from peers.core.config import CoreConfig
from peers.core.effects import Answer, Drop, Effect, Greet, Judge, Stop, Verdict
from peers.core.events import PeerId
from peers.core.inbox import Entry, Inbox
from peers.core.partners import partners
from peers.core.pulls import Pulls
from peers.core.scores import Scores
from wire.codec import (
    decode_announcement,
    decode_greeting,
    decode_reply,
    encode_greeting,
    encode_reply,
    without_payload,
)
from wire.digest import Content, short
from wire.errors import WireError
from wire.logits import RowsShape
from wire.messages import (
    MAX_FRAMES,
    MAX_KNOWN,
    Fingerprints,
    Greeting,
    Latest,
    Reply,
    network_id,
)
from wire.tensors import Layout, TensorSpec

AWAITED_ROUNDS = 2
"""Rounds of ours in which somebody who said nothing is still waited for. Guess."""
FAILED_FETCHES = 2
"""Fetches from an author that must fail, one after the other, before it is not waited for. Guess."""
MAX_MET = 1_000
"""Peers of whom we remember when we met them; the earliest goes first."""
HELD_PER_PARTNER = 2
"""Neighbours whose updates are held, for each one fetched from: partners change, and what was fetched of the
last ones counts for some rounds. Guess; it bounds the memory that others can make us use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What this peer and its neighbours must share, known once the learner is open."""

    fingerprints: Fingerprints
    layout: Layout
    rows: RowsShape
    net: bytes

    @classmethod
    def of(cls, network: str, opened: Opened) -> Terms:
        return cls(
            fingerprints=opened.fingerprints,
            layout=Layout(tuple(TensorSpec(name, shape) for name, shape in opened.shapes), opened.codec),
            rows=RowsShape(rows=opened.rows, top=opened.top, vocabulary=opened.vocabulary, raw=opened.raw),
            net=network_id(network, opened.fingerprints),
        )


@dataclass(frozen=True, slots=True)
class _Ground:
    """What stands on the terms, and so begins with them."""

    terms: Terms
    ledger: Ledger
    pulls: Pulls


class Neighbourhood:
    """Not thread-safe and without a clock of its own: `now` is always given, in seconds."""

    def __init__(self, config: CoreConfig, keys: Keys) -> None:
        self._config = config
        self._keys = keys
        self._ground: _Ground | None = None
        self._connected: dict[PeerId, None] = {}
        self._met: dict[PeerId, int] = {}
        self._found_kin = False
        self._compared = 0
        self._complaints = Complaints(keys.peer_id)
        self._own_frame = b""
        self._own_latest: Latest | None = None
        self._weights: dict[PeerId, float] = {}
        self._round = 0
        self._chosen: frozenset[PeerId] | None = None
        self._merging = config.trust.strategy != "local"
        self.inbox = Inbox()
        self.scores = Scores(config.scores)

    # -- what the round asks ------------------------------------------------------------------------

    @property
    def net(self) -> bytes:
        assert self._ground is not None, "the terms are known once the learner is open"
        return self._ground.terms.net

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

    def is_awaited(self, peer: PeerId) -> bool:
        """Whether this connected peer can be expected to announce something this round.

        One that was silent for two rounds of ours has finished, is slow or is gone; one of which we have heard
        nothing in the two rounds since we met is no better, and neither is one that announces what twice in a
        row could not be fetched: not worth the patience. With a barrier, all that are connected are waited for, and
        only whoever was silent for more than `max_age` rounds is given up.
        """
        newest = self.inbox.newest_of(peer)
        if self._config.round.barrier:
            if newest is None:
                met = self._met.get(peer)
                most = self._config.trust.max_age
                return self._fetching and met is not None and self.inbox.turns - met <= most
            return not newest.refused and newest.failures < FAILED_FETCHES and peer in self.partners()
        if newest is not None:
            # One that ran ahead of us is due again when we have caught up, not when its word is old by our count.
            behind = self.inbox.staleness(newest, self._round)
            lively = behind < AWAITED_ROUNDS and self.inbox.age(newest) <= self._config.trust.max_age
            hopeful = not newest.refused and newest.failures < FAILED_FETCHES
            return lively and hopeful and peer in self.partners()
        met = self._met.get(peer)
        return self._fetching and met is not None and self.inbox.turns - met < AWAITED_ROUNDS

    def partners(self) -> frozenset[PeerId]:
        """Those lately heard whose updates are worth fetching in this round."""
        if self._chosen is None:
            self._chosen = self._drawn() if self._fetching else frozenset()
        return self._chosen

    def _drawn(self) -> frozenset[PeerId]:
        lately = self.inbox.lately(self._config.trust.max_age)
        return partners(
            {one.author: self._weights.get(one.author, 0.0) for one in lately},
            me=self._keys.peer_id,
            round_=self._round,
            most=self._config.round.most_partners,
            explore=self._config.round.explore,
        )

    def usable(self) -> list[Entry]:
        """Complete entries of partners, young enough for a merge, in order of author."""
        chosen = self.partners()
        young = self.inbox.lately_complete(self._config.trust.max_age)
        return sorted([one for one in young if one.author in chosen], key=_author)

    def own(self, frame: bytes, norms: dict[str, float]) -> None:
        """Our own latest announcement, to give to whoever compares, and our tensors' sizes as a yardstick."""
        assert self._ground is not None, "an announcement follows the terms"
        announcement = decode_announcement(frame).announcement
        self._own_frame = without_payload(frame)
        self._own_latest = Latest(author=announcement.author, round=announcement.round)
        before = self._fetching
        self._round = max(self._round, announcement.round)
        if self._fetching != before:
            self._chosen = None
        self._ground.pulls.own(norms)

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

    # -- connections --------------------------------------------------------------------------------

    def open(self, terms: Terms) -> list[Effect]:
        ledger = Ledger(
            net=terms.net,
            fingerprints=terms.fingerprints,
            update_bytes=terms.layout.size,
            evidence_bytes=terms.rows.size,
        )
        self._ground = _Ground(terms, ledger, Pulls(terms.layout, terms.rows))
        return [self._greeting(terms, peer) for peer in self._connected]

    def connect(self, peer: PeerId, now: float) -> list[Effect]:
        if self.scores.unwelcome(peer, now):
            return [Drop(peer=peer)]
        self._connected[peer] = None
        return [self._greeting(self._ground.terms, peer)] if self._ground else []

    def disconnect(self, peer: PeerId) -> None:
        self._connected.pop(peer, None)

    def compare(self) -> list[Effect]:
        """Greet the next neighbour in turn."""
        if not self._connected or self._ground is None:
            return []
        self._compared += 1
        peer = list(self._connected)[self._compared % len(self._connected)]
        return [self._greeting(self._ground.terms, peer)]

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

    # -- comparing what is known --------------------------------------------------------------------

    def greeted(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            greeting = decode_greeting(data)
        except WireError as error:
            return [Answer(reply=None), *self.fine(via, error.field, error.why, MALFORMED_FINE, now)]
        if self._ground is None:
            return [Answer(reply=None)]
        terms = self._ground.terms
        kin = greeting.net == terms.net
        frames = self._newer_than({one.author: one.round for one in greeting.latest}) if kin else ()
        reply = Reply(v=1, net=terms.net, fingerprints=terms.fingerprints, frames=frames)
        met = self._meet(terms, via, greeting.net, greeting.fingerprints, now)
        return [Answer(reply=encode_reply(reply)), *met]

    def replied(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            reply = decode_reply(data)
        except WireError as error:
            return self.fine(via, error.field, error.why, MALFORMED_FINE, now)
        if self._ground is None:
            return []
        effects = self._meet(self._ground.terms, via, reply.net, reply.fingerprints, now)
        for frame in reply.frames:
            _, more = self._admit(self._ground, frame, via, now)
            effects += more
        return effects

    def _greeting(self, terms: Terms, peer: PeerId) -> Greet:
        latest = [
            Latest(author=one.announcement.author, round=one.announcement.round)
            for one in self.inbox.newest()
        ]
        own = [self._own_latest] if self._own_latest else []
        greeting = Greeting(
            v=1,
            net=terms.net,
            fingerprints=terms.fingerprints,
            latest=tuple((own + latest)[:MAX_KNOWN]),
        )
        return Greet(peer=peer, greeting=encode_greeting(greeting))

    def _newer_than(self, known: dict[bytes, int]) -> tuple[bytes, ...]:
        """Announcements that the other lacks, the youngest first; none so old that nobody would merge it."""
        own, oldest = self._own_latest, self._config.trust.max_age
        frames = [self._own_frame] if own and known.get(own.author, -1) < own.round else []
        newer = [
            one
            for one in self.inbox.newest()
            if known.get(one.announcement.author, -1) < one.announcement.round
            and self.inbox.age(one) <= oldest
        ]
        frames += [one.frame for one in sorted(newer, key=self.inbox.age)]
        return tuple(frames[:MAX_FRAMES])

    def _meet(self, terms: Terms, peer: PeerId, net: bytes, theirs: Fingerprints, now: float) -> list[Effect]:
        if net == terms.net:
            self._found_kin = True
            self._met.setdefault(peer, self.inbox.turns)
            if len(self._met) > MAX_MET:
                del self._met[next(iter(self._met))]
            return []
        self._met.pop(peer, None)
        differs = mismatch(theirs, terms.fingerprints)
        field, why = differs or ("net", f"another network name than {self._config.network!r}")
        if peer in self._config.joined and not self._found_kin:
            return [Stop(code=2, why=f"the network of {peer} differs in its {field}: {why}. {_cure(field)}")]
        return [*self._complaints.about(peer, field, why, now)]

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
        entry = Entry(accepted.author, announcement, without_payload(data), via)
        if payload:
            evidence = Content(announcement.evidence.digest, payload)
            fault = ground.pulls.check_evidence(evidence)
            if fault is not None:
                return Verdict.IGNORE, self.fine(accepted.author, fault.field, fault.why, fault.fine, now)
            entry.evidence = evidence
        if not self.inbox.put(entry, dear=self._dear() if self.inbox.full else ()):
            return Verdict.IGNORE, []
        if self._chosen is not None and entry.author not in self._chosen:
            self._chosen = None
        return Verdict.ACCEPT, self._fetch(ground, entry)

    def _dear(self) -> set[PeerId]:
        """Who is connected, and who was worth something to us."""
        return {author for author, weight in self._weights.items() if weight > 0} | self._connected.keys()

    # -- blobs --------------------------------------------------------------------------------------

    def fetch_missing(self) -> list[Effect]:
        """Ask for what is missing of this round's partners; what was asked for and failed, again."""
        if self._ground is None:
            return []
        effects: list[Effect] = []
        for entry in [one for one in self.inbox.newest() if not one.complete]:
            effects += self._fetch(self._ground, entry)
        return effects

    def pulled(self, request: int, content: Content, now: float) -> list[Effect]:
        fetch = self._ground.pulls.end(request) if self._ground else None
        if self._ground is None or fetch is None or content.digest != fetch.entry.ref(fetch.kind).digest:
            return []
        entry = fetch.entry
        if self.inbox.newest_of(entry.author) is None:
            return []
        fault = self._ground.pulls.check(fetch, content)
        if fault is None:
            self.inbox.hold(entry, fetch.kind, content)
            self._make_room()
            return self.fetch_missing()
        entry.refused = True
        fined = self.fine(entry.author, fault.field, fault.why, fault.fine, now)
        return [*fined, *self.fetch_missing()]

    def not_pulled(self, request: int, why: str, now: float) -> list[Effect]:
        fetch = self._ground.pulls.end(request) if self._ground else None
        if self._ground is None or fetch is None:
            return []
        author = fetch.entry.author
        complaint = self._complaints.about(author, f"{fetch.kind}.pull", why, now)
        newest = self.inbox.newest_of(author)
        if newest is None:
            return [*complaint]
        newest.failures += 1
        if newest is fetch.entry:
            return [*complaint]
        return [*complaint, *self._fetch(self._ground, newest)]

    def _fetch(self, ground: _Ground, entry: Entry) -> list[Effect]:
        """Pulls for what is missing of this entry, if it is worth them and its author's last ones ended."""
        if entry.refused or entry.complete or entry.author not in self.partners():
            return []
        for kind in entry.missing():
            held = self.inbox.find(kind, entry.ref(kind).digest)
            if held is not None:
                self.inbox.hold(entry, kind, held)
        if ground.pulls.busy(entry.author):
            return []
        connected = tuple(self._connected)
        return [ground.pulls.begin(entry, kind, connected) for kind in entry.missing()]

    def _make_room(self) -> None:
        """Where too much is held, let go of what was fetched of partners no more, the oldest first."""
        excess = self.inbox.held - HELD_PER_PARTNER * self._config.round.most_partners
        if excess <= 0:
            return
        chosen = self.partners()
        others = [one for one in self.inbox.complete() if one.author not in chosen]
        for one in sorted(others, key=self.inbox.age, reverse=True)[:excess]:
            self.inbox.let_go(one.author)


_author = attrgetter("author")


def _cure(field: str) -> str:
    cures = {
        "base": "Set [model] name in peer.toml to the base model of that network",
        "tokenizer": "Use the tokenizer that comes with the base model of that network",
        "reference": "Set [reference] in peer.toml as that network has it",
        "layout": "Set [adapter] in peer.toml as that network has it",
        "net": "Set [peer] network in peer.toml to that network's name",
    }
    return cures[field]
