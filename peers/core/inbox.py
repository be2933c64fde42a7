"""What others last announced: for each author the newest complete state, and the newer one on its way.

Messages carry state, never increments, so the newest one makes the older ones worthless and nothing is lost
with a lost message. An entry is complete when both its update and its predictions are here and checked; until
the newer one is, the older complete one still counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from peers.core.events import PeerId
from wire.digest import Content
from wire.messages import Announcement

MAX_AUTHORS = 1_000


@dataclass(slots=True)
class Entry:
    """One author's announcement, with what of it has been fetched. `frame` is bare: without evidence.

    `age` counts rounds of ours since the announcement came.
    """

    author: PeerId
    announcement: Announcement
    frame: bytes
    via: PeerId
    update: Content | None = None
    evidence: Content | None = None
    age: int = 0

    @property
    def complete(self) -> bool:
        return self.update is not None and self.evidence is not None


class Inbox:
    """Entries by author."""

    def __init__(self) -> None:
        self._complete: dict[PeerId, Entry] = {}
        self._newest: dict[PeerId, Entry] = {}

    def newest(self) -> Iterator[Entry]:
        """The newest announcement of each author, complete or not."""
        return iter(self._newest.values())

    def complete(self) -> Iterator[Entry]:
        """The newest complete state of each author."""
        return iter(self._complete.values())

    def newest_of(self, author: PeerId) -> Entry | None:
        return self._newest.get(author)

    def put(self, entry: Entry) -> None:
        """A newer announcement of this author. The one that was longest silent goes when there are too many."""
        self._newest[entry.author] = entry
        if entry.complete:
            self._complete[entry.author] = entry
        if len(self._newest) > MAX_AUTHORS:
            self.remove(max(self._newest.values(), key=lambda one: (one.age, one.author)).author)

    def hold(self, content: Content) -> None:
        """Put a fetched blob wherever it belongs: two authors may have announced the same bytes.

        A blob of an announcement that a newer one replaced in the meantime belongs nowhere.
        """
        for entry in self._newest.values():
            if entry.update is None and content.digest == entry.announcement.update.digest:
                entry.update = content
            if entry.evidence is None and content.digest == entry.announcement.evidence.digest:
                entry.evidence = content
            if entry.complete:
                self._complete[entry.author] = entry

    def remove(self, author: PeerId) -> None:
        self._newest.pop(author, None)
        self._complete.pop(author, None)

    def grow_older(self, *, forget_after: int) -> None:
        """One more round of ours has passed; blobs older than `forget_after` rounds are let go."""
        for entry in {id(one): one for one in (*self._newest.values(), *self._complete.values())}.values():
            entry.age += 1
        for author in [one.author for one in self._complete.values() if one.age > forget_after]:
            stale = self._complete.pop(author)
            stale.update = stale.evidence = None

    def blob(self, digest: bytes) -> Content | None:
        """A blob of anyone's that was verified, to use again or to pass on to whoever asks."""
        for entry in (*self._complete.values(), *self._newest.values()):
            for content in (entry.update, entry.evidence):
                if content is not None and content.digest == digest:
                    return content
        return None
