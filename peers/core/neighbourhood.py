"""The others: who is connected, what they announced, what of it is here, and how they behaved.

Everything that comes from outside is checked here, cheapest first, before anything costs memory or time: the
announcement (`admission.py`), then its blobs. Announcements reach us by GossipSub, and, because that repairs
neither a late join nor a healed partition, by comparison: on every new connection and from time to time
afterwards, we tell a neighbour what we hold and it answers with what is newer.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from peers.core.admission import (
    BAD_CONTENT_FINE,
    EQUIVOCATION_FINE,
    MALFORMED_FINE,
    Accepted,
    Admission,
    Equivocated,
    Ignored,
    Keys,
    Ledger,
    Rejected,
    mismatch,
)
from peers.core.config import CoreConfig
from peers.core.effects import Answer, Drop, Effect, Greet, Judge, Pull, Report, Stop, Verdict
from peers.core.events import PeerId
from peers.core.inbox import Entry, Inbox
from peers.core.partners import partners
from peers.core.scores import Scores
from trust.history import Refusal
from wire.codec import (
    decode_greeting,
    decode_reply,
    encode_greeting,
    encode_reply,
    without_payload,
)
from wire.digest import Content, short
from wire.errors import WireError
from wire.logits import RowsShape, decode_rows
from wire.messages import (
    MAX_FRAMES,
    MAX_KNOWN,
    BlobRef,
    Fingerprints,
    Greeting,
    Latest,
    Reply,
    network_id,
)
from wire.tensors import Layout, check_update

MAX_NORM_RATIO = 100.0
"""A tensor whose root mean square exceeds ours and the neighbours' median this many times is refused. Guess,
wide on purpose: to a newcomer, whose own update is still small, everybody's is large, and what is
merely harmful the guard on the trust split catches. There is no lower bound: a small update does little."""
LARGE_NORM_FINE = -5.0
MAX_SILENCE = 1_000
"""Rounds after which a peer that says nothing is forgotten."""
REPORT_AGAIN_S = 3600.0
"""Seconds before the same complaint about the same peer is reported again."""
MAX_COMPLAINTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What this peer and its neighbours must share, known once the learner is open."""

    fingerprints: Fingerprints
    layout: Layout
    rows: RowsShape
    net: bytes

    @classmethod
    def of(cls, network: str, fingerprints: Fingerprints, layout: Layout, rows: RowsShape) -> Terms:
        return cls(
            fingerprints=fingerprints, layout=layout, rows=rows, net=network_id(network, fingerprints)
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    author: PeerId
    ref: BlobRef
    kind: str


class Neighbourhood:
    """Not thread-safe and without a clock of its own: `now` is always given, in seconds."""

    def __init__(self, config: CoreConfig, keys: Keys) -> None:
        self._config = config
        self._keys = keys
        self._terms: Terms | None = None
        self._ledger: Ledger | None = None
        self._connected: dict[PeerId, None] = {}
        self._silence: dict[PeerId, int] = {}
        self._wanted: dict[int, _Wanted] = {}
        self._next_request = 0
        self._compared = 0
        self._complaints: dict[tuple[PeerId, str], float] = {}
        self._norms: dict[str, float] = {}
        self._others_norms: dict[PeerId, dict[str, float]] = {}
        self._own_frame = b""
        self._weights: dict[PeerId, float] = {}
        self._round = 0
        self.inbox = Inbox()
        self.scores = Scores(config.scores)

    # -- what the round asks ------------------------------------------------------------------------

    @property
    def net(self) -> bytes:
        assert self._terms is not None, "the terms are known once the learner is open"
        return self._terms.net

    def awaited(self) -> int:
        """Connected peers of our network that can be expected to announce something this round.

        One that was silent for two rounds of ours has finished, is slow or is gone: not worth the patience.
        """
        return len([one for one in self._connected if self._silence.get(one, 2) < 2])

    def usable(self) -> list[Entry]:
        """Complete entries young enough for a merge, of authors in good standing, in order of author."""
        oldest = self._config.trust.max_age
        return sorted(
            (one for one in self.inbox.complete() if one.age <= oldest), key=lambda one: one.author
        )

    def own(self, frame: bytes, norms: dict[str, float]) -> None:
        """Our own latest announcement, to give to whoever compares, and our tensors' sizes as a yardstick."""
        self._own_frame = without_payload(frame) if frame else b""
        self._norms = norms

    # -- connections --------------------------------------------------------------------------------

    def open(self, terms: Terms) -> list[Effect]:
        self._terms = terms
        if self._ledger is None:
            self._ledger = Ledger(
                net=terms.net,
                fingerprints=terms.fingerprints,
                update_bytes=terms.layout.size,
                evidence_bytes=terms.rows.size,
            )
        return [self._greeting(peer) for peer in self._connected]

    def connect(self, peer: PeerId, now: float) -> list[Effect]:
        if self.scores.unwelcome(peer, now):
            return [Drop(peer=peer)]
        self._connected[peer] = None
        return [self._greeting(peer)] if self._terms else []

    def disconnect(self, peer: PeerId) -> None:
        self._connected.pop(peer, None)

    def compare(self) -> list[Effect]:
        """Greet the next neighbour in turn."""
        if not self._connected or self._terms is None:
            return []
        self._compared += 1
        return [self._greeting(list(self._connected)[self._compared % len(self._connected)])]

    def fine(self, peer: PeerId, field: str, why: str, amount: float, now: float) -> list[Effect]:
        self.scores.fine(peer, amount, now)
        effects = self._complain(peer, field, why, now)
        if self.scores.banned(peer, now):
            self.inbox.remove(peer)
        if self.scores.unwelcome(peer, now) and peer in self._connected:
            effects.append(Drop(peer=peer))
        return effects

    # -- comparing what is known --------------------------------------------------------------------

    def greeted(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            greeting = decode_greeting(data)
        except WireError as error:
            return [Answer(reply=None), *self.fine(via, error.field, error.why, MALFORMED_FINE, now)]
        if self._terms is None:
            return [Answer(reply=None)]
        kin = greeting.net == self._terms.net
        frames = self._newer_than({one.author: one.round for one in greeting.latest}) if kin else ()
        reply = Reply(v=1, net=self._terms.net, fingerprints=self._terms.fingerprints, frames=frames)
        met = self._meet(via, greeting.net, greeting.fingerprints, now)
        return [Answer(reply=encode_reply(reply)), *met]

    def replied(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        try:
            reply = decode_reply(data)
        except WireError as error:
            return self.fine(via, error.field, error.why, MALFORMED_FINE, now)
        if self._terms is None:
            return []
        effects = self._meet(via, reply.net, reply.fingerprints, now)
        for frame in reply.frames:
            _, more = self._admit(frame, via, now)
            effects += more
        return effects

    def _greeting(self, peer: PeerId) -> Greet:
        assert self._terms is not None, "greetings begin when the terms are known"
        latest = [
            Latest(author=one.announcement.author, round=one.announcement.round)
            for one in self.inbox.newest()
        ]
        greeting = Greeting(
            v=1,
            net=self._terms.net,
            fingerprints=self._terms.fingerprints,
            latest=tuple(latest[-MAX_KNOWN:]),
        )
        return Greet(peer=peer, greeting=encode_greeting(greeting))

    def _newer_than(self, known: dict[bytes, int]) -> tuple[bytes, ...]:
        frames = [self._own_frame] if self._own_frame else []
        for one in self.inbox.newest():
            if known.get(one.announcement.author, -1) < one.announcement.round:
                frames.append(one.frame)
        return tuple(frames[:MAX_FRAMES])

    def _meet(self, peer: PeerId, net: bytes, theirs: Fingerprints, now: float) -> list[Effect]:
        assert self._terms is not None, "callers have checked"
        if net == self._terms.net:
            self._silence.setdefault(peer, 0)
            return []
        self._silence.pop(peer, None)
        differs = mismatch(theirs, self._terms.fingerprints)
        field, why = differs or ("net", f"another network name than {self._config.network!r}")
        if peer in self._config.joined and not self._silence:
            return [Stop(code=2, why=f"the network of {peer} differs in its {field}: {why}. {_cure(field)}")]
        return self._complain(peer, field, why, now)

    # -- announcements ------------------------------------------------------------------------------

    def heard(self, data: bytes, via: PeerId, now: float) -> list[Effect]:
        verdict, effects = self._admit(data, via, now)
        return [Judge(verdict=verdict), *effects]

    def _admit(self, data: bytes, via: PeerId, now: float) -> tuple[Verdict, list[Effect]]:
        if self._ledger is None:
            return Verdict.IGNORE, []
        verdict: Admission = self._ledger.admit(data, self._keys, now)
        match verdict:
            case Rejected(field, why, amount):
                return Verdict.REJECT, self.fine(via, field, why, amount, now)
            case Ignored(field, why, mismatch=True):
                return Verdict.IGNORE, self._complain(via, field, why, now)
            case Ignored():
                return Verdict.IGNORE, []
            case Equivocated(author, round_, first, second):
                why = f"round {round_}: two announcements {short(first)}, {short(second)}"
                return Verdict.IGNORE, self.fine(
                    author, "announcement.round", why, EQUIVOCATION_FINE, now
                )
            case Accepted(frame, author):
                if self.scores.banned(author, now):
                    return Verdict.IGNORE, []
                evidence = Content(frame.announcement.evidence.digest, frame.payload)
                entry = Entry(author, frame.announcement, without_payload(data), via)
                if frame.payload:
                    bad = self._evidence_fault(evidence)
                    if bad is not None:
                        return Verdict.IGNORE, self.fine(author, *bad, now)
                    entry.evidence = evidence
                self._silence[author] = 0
                self.inbox.put(entry)
                return Verdict.ACCEPT, self._fetch(entry)

    # -- blobs --------------------------------------------------------------------------------------

    def turn(self, weights: dict[PeerId, float], round_: int) -> None:
        """Our round `round_` ended with this row: what is here is a round older, partners are drawn anew."""
        self._weights = weights
        self._round = round_
        self._others_norms = {one: norms for one, norms in self._others_norms.items() if one in weights}
        self._silence = {one: rounds + 1 for one, rounds in self._silence.items() if rounds < MAX_SILENCE}
        self.inbox.grow_older(forget_after=self._config.trust.max_age)

    def fetch_missing(self) -> list[Effect]:
        """Ask again for what is missing of this round's partners: a pull may have failed."""
        effects: list[Effect] = []
        for entry in self.inbox.newest():
            if entry.age <= self._config.trust.max_age:
                effects += self._fetch(entry)
        return effects

    def pulled(self, request: int, content: Content, now: float) -> list[Effect]:
        wanted = self._wanted.pop(request, None)
        if wanted is None or content.digest != wanted.ref.digest:
            return []
        bad = self._check(wanted, content)
        if bad is not None:
            return self.fine(wanted.author, *bad, now)
        self.inbox.hold(content)
        return []

    def not_pulled(self, request: int, why: str, now: float) -> list[Effect]:
        wanted = self._wanted.pop(request, None)
        if wanted is None:
            return []
        return self._complain(wanted.author, f"{wanted.kind}.pull", why, now)

    def _fetch(self, entry: Entry) -> list[Effect]:
        """Pulls for whatever is missing of this entry, if its author is one of this round's partners."""
        weights = {one.author: self._weights.get(one.author, 0.0) for one in self.inbox.newest()}
        chosen = partners(
            weights,
            me=self._keys.peer_id,
            round_=self._round,
            most=self._config.round.most_partners,
            explore=self._config.round.explore,
        )
        if entry.author not in chosen:
            return []
        asked = {one.ref.digest for one in self._wanted.values()}
        announcement = entry.announcement
        for ref in (announcement.evidence, announcement.update):
            held = self.inbox.blob(ref.digest)
            if held is not None:
                self.inbox.hold(held)
        missing = [
            (kind, ref)
            for kind, ref, held in (
                ("evidence", announcement.evidence, entry.evidence),
                ("update", announcement.update, entry.update),
            )
            if held is None and ref.digest not in asked
        ]
        return [self._pull(entry, kind, ref) for kind, ref in missing]

    def _pull(self, entry: Entry, kind: str, ref: BlobRef) -> Pull:
        self._next_request += 1
        self._wanted[self._next_request] = _Wanted(entry.author, ref, kind)
        others = [one for one in self._connected if one not in (entry.author, entry.via)]
        near = [one for one in (entry.author, entry.via) if one in self._connected]
        sources = tuple(dict.fromkeys(near or [entry.author])) + tuple(others[:2])
        return Pull(request=self._next_request, digest=ref.digest, size=ref.size, sources=sources)

    def _check(self, wanted: _Wanted, content: Content) -> tuple[str, str, float] | None:
        """What is wrong with a blob as (field, why, fine of its author), if anything is."""
        if wanted.kind == "evidence":
            return self._evidence_fault(content)
        assert self._terms is not None, "nothing is pulled before the terms are known"
        try:
            norms = check_update(content.data, self._terms.layout)
        except WireError as error:
            return error.field, error.why, BAD_CONTENT_FINE
        for name, theirs in norms.items():
            usual = max(self._norms.get(name, theirs), self._usual_norm(name))
            if usual > 0 and theirs > MAX_NORM_RATIO * usual:
                why = f"root mean square is {theirs / usual:.3g} times the usual"
                return f"update.{name}", why, LARGE_NORM_FINE
        self._others_norms[wanted.author] = norms
        return None

    def _usual_norm(self, name: str) -> float:
        return statistics.median([norms[name] for norms in self._others_norms.values()] or [0.0])

    def _evidence_fault(self, content: Content) -> tuple[str, str, float] | None:
        assert self._terms is not None, "nothing is admitted before the terms are known"
        try:
            decode_rows(content.data, self._terms.rows)
        except WireError as error:
            return error.field, error.why, BAD_CONTENT_FINE
        return None

    # -- reports ------------------------------------------------------------------------------------

    def _complain(self, peer: PeerId, field: str, why: str, now: float) -> list[Effect]:
        """Report a refusal, unless the same was reported of the same peer within the hour."""
        last = self._complaints.get((peer, field))
        if last is not None and now - last < REPORT_AGAIN_S:
            return []
        if len(self._complaints) >= MAX_COMPLAINTS:
            self._complaints.pop(next(iter(self._complaints)))
        self._complaints[peer, field] = now
        return [Report(record=Refusal(peer=self._keys.peer_id, about=peer, field=field, why=why))]


def _cure(field: str) -> str:
    cures = {
        "base": "Set [model] name in peer.toml to the base model of that network",
        "tokenizer": "Use the tokenizer that comes with the base model of that network",
        "reference": "Set [reference] in peer.toml as that network has it",
        "layout": "Set [adapter] in peer.toml as that network has it",
        "net": "Set [peer] network in peer.toml to that network's name",
    }
    return cures[field]
