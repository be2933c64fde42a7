"""What others last announced: for each author the newest complete state, and the newer one on its way.

Messages carry state, never increments, so the newest one makes the older ones worthless and nothing is lost
with a lost message. An entry is complete when all that is wanted of it is here and checked, ordinarily its update and
its predictions; until the newer one is, the older complete one still counts.

Age counts rounds of ours, and a round's doors close when it begins to choose: what comes while it chooses and
merges is for the next round, and no older there than what comes while that one trains.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from peers.core.events import PeerId
from wire.digest import Content
from wire.messages import Announcement, BlobRef

MAX_AUTHORS = 1_000

Kind: TypeAlias = Literal["evidence", "update"]
"""In the order in which they are fetched: the smaller first."""


@dataclass(slots=True, eq=False)
class ReceivedAnnouncement:
    """One author's announcement, with what of it has been fetched. `frame` is bare: without evidence.

    `refs` is what is wanted of it, in the order in which it is fetched, and `fit` whether what this peer chose for
    itself lets it be used. `turn` is the round of ours for which it came; `refused` that its content cannot be
    used; `failures` how often fetching from this author failed since it last did not.
    """

    author: PeerId
    announcement: Announcement
    frame: bytes
    via: PeerId
    refs: Mapping[Kind, BlobRef]
    evidence: Content | None = None
    update: Content | None = None
    turn: int = 0
    fit: bool = True
    refused: bool = False
    failures: int = 0

    @property
    def complete(self) -> bool:
        # Asked of every entry, again and again.
        return (self.update is not None or "update" not in self.refs) and (
            self.evidence is not None or "evidence" not in self.refs
        )

    def ref(self, kind: Kind) -> BlobRef:
        return self.refs[kind]

    def content(self, kind: Kind) -> Content | None:
        return self.evidence if kind == "evidence" else self.update

    def missing(self) -> tuple[Kind, ...]:
        return () if self.complete else tuple(kind for kind in self.refs if self.content(kind) is None)


class Inbox:
    """Entries by author. `changes` counts how often what is complete became something else."""

    def __init__(self) -> None:
        self.changes = 0
        self._complete: dict[PeerId, ReceivedAnnouncement] = {}
        self._newest: dict[PeerId, ReceivedAnnouncement] = {}
        self._turn = 0
        self._doors_open = True

    def newest(self) -> Iterator[ReceivedAnnouncement]:
        """The newest announcement of each author, complete or not."""
        return iter(self._newest.values())

    def complete(self) -> Iterator[ReceivedAnnouncement]:
        """The newest complete state of each author."""
        return iter(self._complete.values())

    def lately(self, max_age: int) -> list[ReceivedAnnouncement]:
        """The newest announcement of each author of whom we heard within so many rounds."""
        since = self._turn - max_age
        return [entry for entry in self._newest.values() if entry.turn >= since]

    def lately_complete(self, max_age: int) -> list[ReceivedAnnouncement]:
        """The newest complete state of each author, of those that came within so many rounds."""
        since = self._turn - max_age
        return [entry for entry in self._complete.values() if entry.turn >= since]

    @property
    def held(self) -> int:
        """Authors of whom a complete state is here."""
        return len(self._complete)

    @property
    def full(self) -> bool:
        """Whether the next author that is new pushes out another."""
        return len(self._newest) >= MAX_AUTHORS

    @property
    def turns(self) -> int:
        """Rounds of ours that ended."""
        return self._turn

    def newest_of(self, author: PeerId) -> ReceivedAnnouncement | None:
        return self._newest.get(author)

    def age(self, entry: ReceivedAnnouncement) -> int:
        """Rounds of ours that ended since the announcement came."""
        return max(0, self._turn - entry.turn)

    def staleness(self, entry: ReceivedAnnouncement, our_round: int) -> int:
        """By how many rounds this state is behind us: its age, or by its author's count if that is less.

        So a peer that runs ahead of us is never stale, and neither is one that joined late and is at round 0.
        """
        if self.is_current(entry, our_round):
            return 0
        return min(self._turn - entry.turn, our_round - entry.announcement.round)

    def is_current(self, entry: ReceivedAnnouncement, our_round: int) -> bool:
        """Whether it is not stale at all."""
        return entry.turn >= self._turn or entry.announcement.round >= our_round

    def put(self, entry: ReceivedAnnouncement, *, dear: Container[PeerId] = ()) -> bool:
        """Take a newer announcement; False where it is not newer than what is here.

        Where there are too many authors, the one longest silent goes, and none of `dear` while there are
        others: identities cost nothing, and a flood of them must not push out those that are worth something.
        """
        known = self._newest.get(entry.author)
        if known is not None and known.announcement.round >= entry.announcement.round:
            return False
        entry.turn = self._turn if self._doors_open else self._turn + 1
        entry.failures = known.failures if known else 0
        self._newest[entry.author] = entry
        if len(self._newest) > MAX_AUTHORS:
            self.remove(
                max(
                    self._newest.values(), key=lambda one: (one.author not in dear, self.age(one), one.author)
                ).author
            )
        self._settle(entry)
        return True

    def hold(self, entry: ReceivedAnnouncement, kind: Kind, content: Content) -> None:
        """Give an entry a blob that was checked; `content` is what the entry's reference names.

        The entry may have been replaced by a newer one meanwhile, and still be the newest that is complete: a
        neighbour that announces faster than we fetch would otherwise never be heard.
        """
        if kind == "evidence":
            entry.evidence = content
        else:
            entry.update = content
        newest = self._newest.get(entry.author)
        if newest is not None:
            newest.failures = 0
        self._settle(entry)

    def _settle(self, entry: ReceivedAnnouncement) -> None:
        """Let it count, if it is complete and newer than what does, and its author was not removed meanwhile."""
        if not entry.complete or entry.author not in self._newest:
            return
        known = self._complete.get(entry.author)
        if known is None or known.announcement.round < entry.announcement.round:
            self._complete[entry.author] = entry
            self.changes += 1

    def remove(self, author: PeerId) -> None:
        self._newest.pop(author, None)
        self._complete.pop(author, None)
        self.changes += 1

    def let_go(self, author: PeerId) -> None:
        """Forget the author's blobs, and remember that it was heard."""
        stale = self._complete.pop(author, None)
        self.changes += 1
        if stale is not None and self._newest[author] is stale:
            # A new one: a round that is going on may still count on the old.
            self._newest[author] = replace(stale, update=None, evidence=None)

    def close(self) -> None:
        """A round begins to choose: what comes from now on is for the next one."""
        self._doors_open = False

    def turn(self, *, forget_after: int) -> None:
        """One more round of ours has ended; blobs older than `forget_after` rounds are let go."""
        self._turn += 1
        self.changes += 1
        self._doors_open = True
        for author in [one.author for one in self._complete.values() if self.age(one) > forget_after]:
            self.let_go(author)

    def find(self, kind: Kind, digest: bytes) -> Content | None:
        """A blob of anyone's that was checked as this kind."""
        for entries in (self._complete, self._newest):
            for entry in entries.values():
                content = entry.evidence if kind == "evidence" else entry.update
                if content is not None and content.digest == digest:
                    return content
        return None

    def blob(self, digest: bytes) -> Content | None:
        """A blob of either kind, to pass on to whoever asks."""
        return self.find("update", digest) or self.find("evidence", digest)
