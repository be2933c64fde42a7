"""Admission of announcements: the checks of a frame from outside, cheapest first, each with its verdict.

ACCEPT relays a frame. IGNORE drops it, and no peer is at fault: a duplicate, another network, too many at once.
REJECT drops it and fines the peer that relayed it. Only a frame that passed every check changes what the ledger
remembers, so a forged or early frame cannot block the real one.

Rounds far from our own are not refused. A round is local: a late joiner is at round 0 when the others are at 100, and
a fast device runs ahead of a slow one for good, so the difference of two peers' counters says nothing about age. What
must hold is that each author's own counter rises, and that an author never makes two announcements for one round: the
second proves equivocation, and the author is banned.

Of the latest rounds of the authors that matter, the last accepted one is saved (`SavedHeard`). So a restart lets no
earlier announcement in again, and an author that made two for one round is found out across it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from peers.core.events import PeerId
from peers.core.others.connected.relation import other_network
from peers.core.others.offers import Offers
from peers.core.others.standing.budgets import ANNOUNCEMENTS_OF_AUTHOR
from peers.core.saved import SavedHeard
from peers.core.terms import Terms
from trust.record.history import Relation
from wire.bounded import BoundedDict
from wire.codec import Frame, decode_announcement
from wire.errors import WireError
from wire.messages import Announcement, BlobRef

MAX_AUTHORS: Final = 10_000
"""Authors remembered. Above it the one is forgotten that was silent longest, of those without a seat that came from the
source with the most authors: a flood forgets itself."""
MAX_SAVED: Final = 256
"""Authors whose latest round is saved: those with a seat, then those heard last. As many as there can be partners."""
REMEMBERED_ROUNDS: Final = 8
"""Latest rounds of an author for which a second announcement is recognised as equivocation. Guess."""

MALFORMED_FINE: Final = -10.0
FORGED_FINE: Final = -25.0
EQUIVOCATION_FINE: Final = -100.0


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
    """Relay the frame. `obstacle` says why this peer itself cannot merge it although it could by its base, as (field,
    why); `new` that its author was not known."""

    frame: Frame
    author: PeerId
    relation: Relation = "merges"
    obstacle: tuple[str, str] | None = None
    new: bool = False


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


@dataclass(frozen=True, slots=True)
class Doubled:
    """An announcement that this peer's own key signed, and that this peer never made: its home exists twice."""

    round: int


Admission = Accepted | Ignored | Rejected | Equivocated | Doubled

Limit = Callable[[PeerId, bool], Ignored | Rejected | None]
"""(author, whether it is new) -> why its announcement is not even verified now; None where it is."""


@dataclass(slots=True)
class _Author:
    """`earlier` is the last round that was accepted before this process began, with its digest."""

    id: PeerId
    source: str = ""
    rounds: BoundedDict[int, bytes] = field(
        default_factory=lambda: BoundedDict[int, bytes](REMEMBERED_ROUNDS)
    )
    earlier: tuple[int, bytes] | None = None
    tokens: float = ANNOUNCEMENTS_OF_AUTHOR.burst
    at_s: float = 0.0

    @property
    def latest(self) -> int:
        return max(self.rounds) if self.rounds else self.earlier[0] if self.earlier else -1

    def digest(self, round_: int) -> bytes | None:
        """The announcement of this round, if it is remembered."""
        if self.earlier is not None and self.earlier[0] == round_:
            return self.rounds.get(round_, self.earlier[1])
        return self.rounds.get(round_)


class Ledger:
    """Accepted announcements: author -> round -> digest, for the last rounds of each author, in the order in which
    authors were last heard."""

    def __init__(
        self, terms: Terms, offers: Offers, *, seated: Callable[[PeerId], bool] = lambda _: False
    ) -> None:
        self._terms = terms
        self._offers = offers
        self._seated = seated
        self._authors: dict[bytes, _Author] = {}
        self._own = BoundedDict[int, bytes](REMEMBERED_ROUNDS)
        self._own_latest = -1

    def announced(self, round_: int, digest: bytes | None) -> None:
        """Note this peer's own announcement of a round; the digest of one of an earlier life need not be known."""
        self._own_latest = max(self._own_latest, round_)
        if digest is not None:
            self._own[round_] = digest

    def restore(self, rows: Iterable[SavedHeard], keys: Keys) -> None:
        for row in rows:
            author = _Author(keys.peer_id_of(row.author), earlier=(row.round, row.digest))
            self._authors[row.author] = author

    def rows(self) -> tuple[SavedHeard, ...]:
        """The latest accepted announcement of each author that is worth saving."""
        known = [(key, one, latest) for key, one in self._authors.items() if (latest := one.latest) >= 0]
        known.sort(key=lambda row: self._seated(row[1].id))
        return tuple(
            SavedHeard(key, latest, one.digest(latest) or b"") for key, one, latest in known[-MAX_SAVED:]
        )

    def admit(
        self,
        data: bytes,
        keys: Keys,
        now_s: float,
        *,
        source: str = "",
        banned: Callable[[PeerId], bool] = lambda _: False,
        limit: Limit = lambda _author, _new: None,
        answers: Callable[[PeerId], bool] = lambda _: True,
    ) -> Admission:
        """Check a frame from outside. Verifies at most one signature, after all cheaper checks and the limits.
        `answers` says of an author whether the peer that sent the frame could check what it announces."""
        try:
            frame = decode_announcement(data)
        except WireError as error:
            return Rejected(error.field, error.why, MALFORMED_FINE)
        announcement = frame.announcement
        refused = self._other_network(announcement)
        if refused is not None:
            return refused
        if announcement.author == keys.public_key:
            return self._own_key(frame, keys)
        author = keys.peer_id_of(announcement.author)
        if banned(author):
            return Ignored("announcement.author", "banned")
        return (
            self._known_before(frame)
            or self._misshapen(announcement)
            or self._impossible(announcement, answers=answers(author))
            or limit(author, announcement.author not in self._authors)
            or self._signed(frame, author, keys, now_s, source)
        )

    def _own_key(self, frame: Frame, keys: Keys) -> Ignored | Rejected | Doubled:
        """Our own announcements come back to us, also those of earlier lives of the process."""
        round_ = frame.announcement.round
        if round_ <= self._own_latest and self._own.get(round_, frame.digest) == frame.digest:
            return Ignored("announcement.author", "our own")
        if not keys.verify(keys.public_key, frame.signed, frame.signature):
            return Rejected("announcement.signature", "does not verify for its author", FORGED_FINE)
        return Doubled(round_)

    def _known_before(self, frame: Frame) -> Ignored | None:
        known = self._authors.get(frame.announcement.author)
        if known is None:
            return None
        round_ = frame.announcement.round
        before = known.rounds.get(round_)
        if before == frame.digest:
            return Ignored("announcement.round", "duplicate")
        if known.digest(round_) is None and round_ < known.latest:
            return Ignored("announcement.round", f"{round_}, known to {known.latest}")
        return None

    def _misshapen(self, announcement: Announcement) -> Rejected | None:
        """All peers of the network know which sizes byte rows can have, whatever their base."""
        rows, shape = announcement.byte_rows, self._terms.byte_shape
        if not isinstance(rows, BlobRef) or (shape is not None and shape.allows(rows.size)):
            return None
        why = f"{rows.size} bytes are no byte rows of this reference set"
        return Rejected("announcement.byte_rows.size", why, MALFORMED_FINE)

    def _impossible(self, announcement: Announcement, *, answers: bool) -> Rejected | Ignored | None:
        if self._relation(announcement) != "merges":
            # Only peers of its author's base can check it, and nothing of it is fetched that they would refuse.
            return None
        try:
            self._offers.check(announcement)
        except WireError as error:
            if not answers:
                return Ignored(error.field, error.why)
            return Rejected(error.field, error.why, MALFORMED_FINE)
        return None

    def _relation(self, announcement: Announcement) -> Relation:
        return self._offers.relations.to(announcement.fingerprints)

    def _signed(self, frame: Frame, author: PeerId, keys: Keys, now_s: float, source: str) -> Admission:
        announcement = frame.announcement
        if not keys.verify(announcement.author, frame.signed, frame.signature):
            return Rejected("announcement.signature", "does not verify for its author", FORGED_FINE)
        known = self._authors.get(announcement.author)
        before = known.digest(announcement.round) if known else None
        if before is not None and before != frame.digest:
            return Equivocated(author, announcement.round, before, frame.digest)
        # Only after the signature: a forger must not use up the rate of the author that it names.
        if known and not _spend(known, now_s):
            most = ANNOUNCEMENTS_OF_AUTHOR
            return Ignored("rate.author", f"more than {most.burst:g} at once or {most.per_second:g} a second")
        self._remember(frame, author, source, now_s)
        relation = self._relation(announcement)
        obstacle = self._offers.obstacle(announcement.offer) if relation == "merges" else None
        return Accepted(frame, author, relation, obstacle, new=known is None)

    def _other_network(self, announcement: Announcement) -> Ignored | None:
        terms, prints = self._terms, announcement.fingerprints
        difference = other_network(
            announcement.net, prints, terms.fingerprints, name=terms.network, our_net=terms.net
        )
        if difference is not None:
            return Ignored(*difference, mismatch=True)
        theirs, ours = announcement.evidence.size, terms.rows
        if not ours.allows(theirs) and prints.tokenizer == terms.fingerprints.tokenizer:
            return Ignored(
                "announcement.evidence.size",
                f"{theirs} bytes do not fit {ours.rows} rows of {ours.top}",
                mismatch=True,
            )
        return None

    def _remember(self, frame: Frame, peer: PeerId, source: str, now_s: float) -> None:
        key = frame.announcement.author
        author = self._authors.pop(key, None)
        if author is None:
            author = _Author(peer, source=source, at_s=now_s)
            author.tokens -= 1
            if len(self._authors) >= MAX_AUTHORS:
                self._forget_one()
        self._authors[key] = author
        author.rounds[frame.announcement.round] = frame.digest

    def _forget_one(self) -> None:
        crowds = Counter(one.source for one in self._authors.values())
        # The first of equals, and authors are in the order in which they were last heard.
        least = max(
            self._authors,
            key=lambda key: (
                not self._seated(self._authors[key].id),
                crowds[self._authors[key].source],
            ),
        )
        del self._authors[least]


def _spend(author: _Author, now_s: float) -> bool:
    budget = ANNOUNCEMENTS_OF_AUTHOR
    # An author of an earlier life has no time yet, and the clock may have been set back since.
    passed_s = max(0.0, now_s - author.at_s)
    author.tokens = min(budget.burst, author.tokens + passed_s * budget.per_second)
    author.at_s = now_s
    if author.tokens < 1:
        return False
    author.tokens -= 1
    return True
