"""Admission of announcements: the checks of a frame from outside, cheapest first, each with its verdict.

ACCEPT relays a frame. IGNORE drops it, and no peer is at fault: a duplicate, another network, too many at once.
REJECT drops it and fines the peer that relayed it. Only a frame that passed every check changes what the ledger
remembers, so a forged or early frame cannot block the real one.

Rounds far from our own are not refused. A round is local: a late joiner is at round 0 when the others are at 100, and
a fast device runs ahead of a slow one for good, so the difference of two peers' counters says nothing about age. What
must hold is that each author's own counter rises, and that an author never makes two announcements for one round: the
second proves equivocation, and the author is banned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from peers.core.events import PeerId
from peers.core.others.offers import Offers
from peers.core.terms import Terms
from wire.bounded import BoundedDict
from wire.codec import Frame, decode_announcement
from wire.digest import short
from wire.errors import WireError
from wire.messages import Announcement, Fingerprints

MAX_AUTHORS = 10_000
REMEMBERED_ROUNDS = 8
"""Latest rounds of an author for which a second announcement is recognised as equivocation. Guess."""
BURST = 50
PER_SECOND = 5.0
"""Rate limit on the announcements of one author: `BURST` at once, `PER_SECOND` sustained. Guess: a round of less than
a fifth of a second trains nothing."""

MALFORMED_FINE = -10.0
FORGED_FINE = -25.0
EQUIVOCATION_FINE = -100.0


class Keys(Protocol):
    """Signatures and peer ids. Ed25519 on devices; tests and simulations use a keyed digest, which is cheaper."""

    @property
    def public_key(self) -> bytes: ...

    @property
    def peer_id(self) -> PeerId: ...

    def sign(self, message: bytes) -> bytes: ...

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Never raises."""
        ...

    def peer_id_of(self, public_key: bytes) -> PeerId: ...


class Accepted(msgspec.Struct, frozen=True):
    """Relay the frame. `obstacle` says why this peer itself cannot use it, as (field, why)."""

    frame: Frame
    author: PeerId
    obstacle: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """Drop the frame. `mismatch` marks a peer of another network: logged for the user, but no fault."""

    field: str
    why: str
    mismatch: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    field: str
    why: str
    fine: float


@dataclass(frozen=True, slots=True)
class Equivocated:
    """Two signed announcements of one author for one round: the author's fault, not the relaying peer's."""

    author: PeerId
    round: int
    first: bytes
    second: bytes


Admission = Accepted | Ignored | Rejected | Equivocated


@dataclass(slots=True)
class _Author:
    rounds: BoundedDict[int, bytes] = field(
        default_factory=lambda: BoundedDict[int, bytes](REMEMBERED_ROUNDS)
    )
    tokens: float = BURST
    at_s: float = 0.0


class Ledger:
    """Accepted announcements: author -> round -> digest, for the last rounds of each author."""

    def __init__(self, terms: Terms, offers: Offers) -> None:
        self._terms = terms
        self._offers = offers
        self._authors = BoundedDict[bytes, _Author](MAX_AUTHORS)

    def admit(
        self, data: bytes, keys: Keys, now_s: float, *, banned: Callable[[PeerId], bool] = lambda _: False
    ) -> Admission:
        """Check a frame from outside. Verifies at most one signature, after all cheaper checks."""
        try:
            frame = decode_announcement(data)
        except WireError as error:
            return Rejected(error.field, error.why, MALFORMED_FINE)
        announcement = frame.announcement
        refused = self._other_network(announcement)
        if refused is not None:
            return refused
        if announcement.author == keys.public_key:
            return Ignored("announcement.author", "our own")
        author = keys.peer_id_of(announcement.author)
        if banned(author):
            return Ignored("announcement.author", "banned")
        return (
            self._known_before(frame)
            or self._impossible(announcement)
            or self._signed(frame, author, keys, now_s)
        )

    def _known_before(self, frame: Frame) -> Ignored | None:
        known = self._authors.get(frame.announcement.author)
        if known is None:
            return None
        round_ = frame.announcement.round
        before = known.rounds.get(round_)
        if before == frame.digest:
            return Ignored("announcement.round", "duplicate")
        if before is None and round_ < max(known.rounds):
            return Ignored("announcement.round", f"{round_}, known to {max(known.rounds)}")
        return None

    def _impossible(self, announcement: Announcement) -> Rejected | None:
        try:
            self._offers.check(announcement)
        except WireError as error:
            return Rejected(error.field, error.why, MALFORMED_FINE)
        return None

    def _signed(self, frame: Frame, author: PeerId, keys: Keys, now_s: float) -> Admission:
        announcement = frame.announcement
        if not keys.verify(announcement.author, frame.signed, frame.signature):
            return Rejected("announcement.signature", "does not verify for its author", FORGED_FINE)
        known = self._authors.get(announcement.author)
        before = known.rounds.get(announcement.round) if known else None
        if before is not None:
            return Equivocated(author, announcement.round, before, frame.digest)
        # Only after the signature: a forger must not use up the rate of the author that it names.
        if known and not _spend(known, now_s):
            return Ignored("rate.author", f"more than {BURST} at once or {PER_SECOND} a second")
        self._remember(announcement, frame.digest, now_s)
        return Accepted(frame, author, self._offers.obstacle(announcement.offer))

    def _other_network(self, announcement: Announcement) -> Ignored | None:
        difference = mismatch(announcement.fingerprints, self._terms.fingerprints)
        if difference is not None:
            return Ignored(*difference, mismatch=True)
        if announcement.net != self._terms.net:
            return Ignored("net", "another network of the same model", mismatch=True)
        theirs, ours = announcement.evidence.size, self._terms.rows.size
        if theirs != ours:
            return Ignored("announcement.evidence.size", f"{theirs} bytes, ours {ours}", mismatch=True)
        return None

    def _remember(self, announcement: Announcement, digest: bytes, now_s: float) -> None:
        author = self._authors.get(announcement.author)
        if author is None:
            author = _Author(at_s=now_s)
            author.tokens -= 1
        self._authors.renew(announcement.author, author)
        author.rounds[announcement.round] = digest


def mismatch(theirs: Fingerprints, ours: Fingerprints) -> tuple[str, str] | None:
    """The first fingerprint in which two networks differ, as (field, why); None where all are equal."""
    if theirs == ours:
        return None
    for name in ("base", "tokenizer", "reference", "layout"):
        their, our = getattr(theirs, name), getattr(ours, name)
        if their != our:
            return name, f"theirs {short(their)}, ours {short(our)}"
    return None


def _spend(author: _Author, now_s: float) -> bool:
    author.tokens = min(float(BURST), author.tokens + (now_s - author.at_s) * PER_SECOND)
    author.at_s = now_s
    if author.tokens < 1:
        return False
    author.tokens -= 1
    return True
