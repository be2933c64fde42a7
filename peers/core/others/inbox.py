"""The inbox: for each author its newest complete announcement, and a newer one that is still being fetched.

Messages carry state, never increments, so the newest announcement replaces older ones, and a lost message loses
nothing. An announcement is complete when all blobs that are wanted of it are here and checked, usually its update and
its predictions. Until the newer one is complete, the older complete one counts.

Age counts our own rounds. The inbox closes when a round begins to choose: an announcement that comes while this peer
chooses and merges belongs to the next round, and is no older there than one that comes while that round trains.

An announcement that was made in knowledge of this round's predictions (`blobs/showing.py`) belongs to the next round
too, and is complete only there.

    complete    all wanted blobs are here and checked
    lately      heard within `trust.max_age` of our own rounds
    age         our own rounds that ended since the announcement came
    staleness   its age, or how far its author's round counter is behind ours if that is less
    current     of staleness 0: it came for this round, or is of our round or a later one
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final, Literal, TypeAlias, get_args

from peers.core.events import PeerId
from trust.record.history import Relation
from wire.digest import Content
from wire.messages import Announcement, BlobRef

MAX_AUTHORS = 1_000

Kind: TypeAlias = Literal["evidence", "update", "byte_rows"]
"""The blobs of an announcement: predictions, the adapter, and predictions for peers of other tokenizers."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(slots=True, eq=False)
class ReceivedAnnouncement:
    """One author's announcement, with the blobs that were fetched. `frame` is without the evidence's payload.

    `refs` names the wanted blobs in the order in which they are fetched. `relation` is that of its author by this
    announcement. `usable` says whether this peer's own settings let it be merged or compared, `refused` that a blob of
    it was bad. `turn` is our own round for which it came, `arrived`
    its place in the order in which all announcements came, `group` the address group of the peer that it came from.
    `failures` counts failed fetches from this author in a row, `delays` those in a row that a source put off. `put_off`
    says that this one's last fetch was, and is not tried again before the next occasion (`Fetching.retry`). `packed` is
    the packed form in which the update came, for others; `only_whole` says that no packed form of it could be had.
    """

    author: PeerId
    announcement: Announcement
    frame: bytes
    via: PeerId
    refs: Mapping[Kind, BlobRef]
    evidence: Content | None = None
    update: Content | None = None
    byte_rows: Content | None = None
    turn: int = 0
    arrived: int = 0
    group: str = ""
    relation: Relation = "merges"
    usable: bool = True
    refused: bool = False
    failures: int = 0
    delays: int = 0
    put_off: bool = False
    packed: Content | None = None
    only_whole: bool = False

    @property
    def complete(self) -> bool:
        # The hottest property of the core: asked of every announcement at every look.
        return (
            (self.update is not None or "update" not in self.refs)
            and (self.evidence is not None or "evidence" not in self.refs)
            and (self.byte_rows is not None or "byte_rows" not in self.refs)
        )

    @property
    def mergeable(self) -> bool:
        return self.usable and self.relation == "merges"

    @property
    def helpful(self) -> bool:
        """Whether a round may learn from it: its update is merged, or its predictions are distilled."""
        # Spelled out: asked of every neighbour at every look.
        return self.usable and (self.relation == "merges" or (self.relation == "distils" and self.comparable))

    @property
    def comparable(self) -> bool:
        """Whether only its predictions are of use here, because its author holds another base."""
        return self.usable and self.relation in ("distils", "compares") and not self.empty

    @property
    def empty(self) -> bool:
        """Whether its author holds another base and announced nothing that this peer can read: one with another
        tokenizer may have made no byte rows."""
        return self.relation != "merges" and not self.refs

    def ref(self, kind: Kind) -> BlobRef:
        return self.refs[kind]

    def missing(self) -> tuple[Kind, ...]:
        return () if self.complete else tuple([kind for kind in self.refs if _HELD[kind](self) is None])


class Inbox:
    """Announcements by author. `changes` counts changes of the set of complete ones."""

    def __init__(self) -> None:
        self.changes = 0
        self._complete: dict[PeerId, ReceivedAnnouncement] = {}
        self._newest: dict[PeerId, ReceivedAnnouncement] = {}
        self._incomplete: dict[PeerId, ReceivedAnnouncement] = {}
        """Those of the newest that are not complete, so that a fetch need not look at every author."""
        self._places: dict[PeerId, int] = {}
        """Author -> its place in the order in which authors were first heard."""
        self._turn = 0
        self._doors_open = True
        self._next_turn: dict[PeerId, ReceivedAnnouncement] = {}
        """Announcements that are complete from the next round on."""
        self.arrived = 0
        """Announcements that were ever taken."""

    def newest(self) -> Iterator[ReceivedAnnouncement]:
        """The newest announcement of each author, complete or not."""
        return iter(self._newest.values())

    def complete(self) -> Iterator[ReceivedAnnouncement]:
        """The newest complete announcement of each author."""
        return iter(self._complete.values())

    def incomplete(self) -> list[ReceivedAnnouncement]:
        """The newest announcement of each author that lacks a wanted blob, in the order of `newest`."""
        entries = list(self._incomplete.values())
        if len(entries) > 1:
            entries.sort(key=self._place)
        return entries

    def _place(self, entry: ReceivedAnnouncement) -> int:
        return self._places[entry.author]

    def lately(self, max_age: int) -> list[ReceivedAnnouncement]:
        """The newest announcement of each author that was heard within the last `max_age` rounds."""
        since = self._turn - max_age
        return [entry for entry in self._newest.values() if entry.turn >= since]

    def lately_complete(self, max_age: int) -> list[ReceivedAnnouncement]:
        """The newest complete announcement of each author, of those that came within the last `max_age` rounds."""
        since = self._turn - max_age
        return [entry for entry in self._complete.values() if entry.turn >= since]

    @property
    def held(self) -> int:
        """Number of authors with a complete announcement."""
        return len(self._complete)

    @property
    def full(self) -> bool:
        """Whether an announcement of a new author would push out another author's."""
        return len(self._newest) >= MAX_AUTHORS

    @property
    def turns(self) -> int:
        """Our own rounds that have ended."""
        return self._turn

    def newest_of(self, author: PeerId) -> ReceivedAnnouncement | None:
        return self._newest.get(author)

    def age(self, entry: ReceivedAnnouncement) -> int:
        """Our own rounds that have ended since the announcement came."""
        return self._turn - entry.turn if self._turn > entry.turn else 0

    def staleness(self, entry: ReceivedAnnouncement, our_round: int) -> int:
        """By how many rounds an announcement is behind: its age, or the difference of the round counters if less.

        So a peer that runs ahead of us is never stale, and neither is one that joined late and is at round 0.
        """
        if self.is_current(entry, our_round):
            return 0
        return min(self._turn - entry.turn, our_round - entry.announcement.round)

    def is_current(self, entry: ReceivedAnnouncement, our_round: int) -> bool:
        """Whether its staleness is 0."""
        return entry.turn >= self._turn or entry.announcement.round >= our_round

    def put(
        self, entry: ReceivedAnnouncement, *, keepers: Container[PeerId] = (), too_late: bool = False
    ) -> bool:
        """Take an announcement; False where it is not newer than the author's last. One that is `too_late` for this
        round belongs to the next.

        Above `MAX_AUTHORS`, an author of the group that the most authors came from is removed, the one that was silent
        longest, and none of `keepers` while there are others: identities cost nothing, and a flood of them must push
        out itself, not neighbours that are worth something. Authors that merge and those of other bases have half the
        places each, as long as both want them.
        """
        known = self._newest.get(entry.author)
        if known is not None and known.announcement.round >= entry.announcement.round:
            return False
        entry.turn = self._turn if self._doors_open and not too_late else self._turn + 1
        self.arrived += 1
        entry.arrived = self.arrived
        if known is not None:
            entry.failures, entry.delays = known.failures, known.delays
        self._set_newest(entry)
        if len(self._newest) > MAX_AUTHORS:
            self.remove(self._least_missed(keepers))
        self._settle(entry)
        return True

    def _set_newest(self, entry: ReceivedAnnouncement) -> None:
        author = entry.author
        self._newest[author] = entry
        # `arrived` grows with every announcement, so it is above the places of all authors heard before.
        self._places.setdefault(author, self.arrived)
        if entry.complete:
            self._incomplete.pop(author, None)
        else:
            self._incomplete[author] = entry

    def _least_missed(self, keepers: Container[PeerId]) -> PeerId:
        kin = sum(one.relation == "merges" for one in self._newest.values())
        over = [one for one in self._newest.values() if (one.relation == "merges") == (2 * kin > MAX_AUTHORS)]
        crowds = Counter(one.group for one in over if one.author not in keepers)
        return max(
            over,
            key=lambda one: (one.author not in keepers, crowds[one.group], self.age(one), one.author),
        ).author

    def hold(self, entry: ReceivedAnnouncement, kind: Kind, content: Content) -> None:
        """Add a checked blob to an announcement; `content` has the digest that the announcement names.

        The announcement may have been replaced by a newer one meanwhile, and still become the newest complete one: a
        neighbour that announces faster than its blobs are fetched would otherwise never be heard.
        """
        match kind:
            case "evidence":
                entry.evidence = content
            case "update":
                entry.update = content
            case "byte_rows":
                entry.byte_rows = content
        complete, newest = entry.complete, self._newest.get(entry.author)
        if newest is not None:
            newest.failures = 0
            newest.delays = 0 if complete else newest.delays
        if complete:
            if newest is entry:
                self._incomplete.pop(entry.author, None)
            self._settle(entry)

    def _settle(self, entry: ReceivedAnnouncement) -> None:
        """Make it the author's newest complete announcement, if it is that and the author was not removed."""
        if not entry.complete or entry.empty or entry.author not in self._newest:
            return
        if self._doors_open and entry.turn > self._turn:
            self._next_turn[entry.author] = entry
            return
        known = self._complete.get(entry.author)
        if known is None or known.announcement.round < entry.announcement.round:
            self._complete[entry.author] = entry
            self.changes += 1

    def remove(self, author: PeerId) -> None:
        self._newest.pop(author, None)
        self._incomplete.pop(author, None)
        self._places.pop(author, None)
        self._complete.pop(author, None)
        self._next_turn.pop(author, None)
        self.changes += 1

    def let_go(self, author: PeerId) -> None:
        """Drop the author's blobs, but remember its announcement."""
        stale = self._complete.pop(author, None)
        self.changes += 1
        if stale is not None and self._newest[author] is stale:
            # A new object: the round in progress may still hold the old one with its blobs.
            self._set_newest(replace(stale, update=None, evidence=None, byte_rows=None, packed=None))

    def close(self) -> None:
        """The round begins to choose: announcements that come before `turn` belong to the next round."""
        self._doors_open = False

    def turn(self, *, forget_after: int) -> None:
        """End one of our own rounds, and drop blobs older than `forget_after` rounds."""
        self._turn += 1
        self.changes += 1
        self._doors_open = True
        waiting, self._next_turn = self._next_turn, {}
        for entry in waiting.values():
            self._settle(entry)
        for author in [one.author for one in self._complete.values() if self.age(one) > forget_after]:
            self.let_go(author)

    def find(self, kind: Kind, digest: bytes) -> Content | None:
        """A held blob of this kind by its digest, of any author."""
        held = _HELD[kind]
        for entries in (self._complete, self._newest):
            for entry in entries.values():
                content = held(entry)
                if content is not None and content.digest == digest:
                    return content
        return None

    def of_evidence(self, digest: bytes) -> ReceivedAnnouncement | None:
        """The first announcement that came with these predictions, of those whose predictions are held."""
        having = [
            one
            for entries in (self._complete, self._newest)
            for one in entries.values()
            # Spelled out: asked at every pull, of every announcement that is held.
            if (one.evidence is not None and one.evidence.digest == digest)
            or (one.byte_rows is not None and one.byte_rows.digest == digest)
        ]
        return min(having, key=_arrived, default=None)

    def blob(self, digest: bytes) -> Content | None:
        """A held blob of any kind, or a packed form of one, to serve to other peers."""
        for kind in KINDS:
            held = self.find(kind, digest)
            if held is not None:
                return held
        return self._find_packed(digest)

    def _find_packed(self, digest: bytes) -> Content | None:
        for entries in (self._complete, self._newest):
            for entry in entries.values():
                if entry.packed is not None and entry.packed.digest == digest:
                    return entry.packed
        return None


_HELD: Final[Mapping[Kind, Callable[[ReceivedAnnouncement], Content | None]]] = {
    kind: attrgetter(kind) for kind in KINDS
}
_arrived = attrgetter("arrived")
