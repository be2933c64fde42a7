"""Holders: which connected peers can have the blobs of an author, so that nobody is asked in vain.

Where announcements are relayed, most authors of a large network are not connected to this peer, and most of its
neighbours hold nothing of them. So an announcement names the neighbours whose blobs its maker holds and keeps
fetching (`Announcement.holds`). Blobs of an author that is not connected are asked of the neighbours that name it, and
where none does, the author gets no place among the partners: it is two connections away at most.

What a neighbour names it may still be fetching. It says so to an asker that cannot fetch from the author itself
(`expects`), and is asked again; of two peers that fetch the same blob, neither waits for the other.

Nothing is named in a network where all are connected: a peer names authors once it knows one that is not connected, or
has a neighbour that names some.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from peers.core.events import PeerId
from peers.core.others.connected.connected_peers import ConnectedPeers
from peers.core.others.connected.relation import OWN_FIELDS, mismatch
from peers.core.others.inbox import Inbox, Kind, ReceivedAnnouncement
from wire.holders import MAX_HOLDS, decode_holds, encode_holds, prefix_of
from wire.messages import Announcement


class Holders:
    """Reads the announcements of connected peers that are at most `max_age` rounds old."""

    def __init__(self, inbox: Inbox, connections: ConnectedPeers, *, max_age: int) -> None:
        self._inbox = inbox
        self._connections = connections
        self._max_age = max_age
        self._own = frozenset[bytes]()
        """The authors that this peer's last announcement names."""

    def set_own(self, announcement: Announcement) -> None:
        self._own = frozenset(_named(announcement))

    def names(self, chosen: Collection[PeerId]) -> bytes:
        """The authors to name in this peer's next announcement, of its present partners."""
        lately = self._inbox.lately(self._max_age)
        near = self._connections.peers
        if not any(one.author not in near or one.announcement.holds for one in lately):
            return b""
        held = [
            one.announcement.author
            for one in self._inbox.lately_complete(self._max_age)
            if one.author in chosen and self.near(one)
        ]
        return encode_holds(held[:MAX_HOLDS])

    def near(self, entry: ReceivedAnnouncement) -> bool:
        """Whether its author is connected, or was when it announced: then any neighbour may hold its blobs."""
        return entry.author in self._connections.peers or entry.via == entry.author

    def of(self, entry: ReceivedAnnouncement, kind: Kind) -> list[PeerId]:
        """The connected peers that name its author and hold blobs of this kind, in the order of connection."""
        naming = self._naming().get(prefix_of(entry.announcement.author), ())
        return [one.author for one in naming if _reads(one.announcement, kind, entry.announcement)]

    def within_reach(self, entries: Iterable[ReceivedAnnouncement]) -> list[ReceivedAnnouncement]:
        """Those whose blobs can be had: of authors that are near, or that a connected peer holds."""
        entries = list(entries)
        if all(map(self.near, entries)):
            return entries
        naming = self._naming()

        def held(entry: ReceivedAnnouncement) -> bool:
            by = naming.get(prefix_of(entry.announcement.author), ())
            return bool(by) and all(
                any(_reads(one.announcement, kind, entry.announcement) for one in by) for kind in entry.refs
            )

        return [one for one in entries if self.near(one) or held(one)]

    def expects(self, digest: bytes, asker: PeerId) -> bool:
        """Whether this peer is about to hold a blob that `asker` can get nowhere nearer."""
        if not self._own:
            return False
        its = self._inbox.newest_of(asker)
        nearer = () if its is None else _named(its.announcement)
        for entry in self._inbox.incomplete():
            prefix = prefix_of(entry.announcement.author)
            if prefix not in self._own or prefix in nearer:
                continue
            here = not entry.refused and not entry.failures and entry.author in self._connections.peers
            if here and digest in [entry.ref(kind).digest for kind in entry.missing()]:
                return True
        return False

    def _naming(self) -> dict[bytes, list[ReceivedAnnouncement]]:
        """Name of an author -> the announcements that name it."""
        naming: dict[bytes, list[ReceivedAnnouncement]] = {}
        for peer in self._connections.peers:
            one = self._inbox.newest_of(peer)
            if one is not None and one.announcement.holds and self._inbox.age(one) <= self._max_age:
                for prefix in decode_holds(one.announcement.holds):
                    naming.setdefault(prefix, []).append(one)
        return naming


def _named(announcement: Announcement) -> tuple[bytes, ...]:
    return decode_holds(announcement.holds or b"")


def _reads(holder: Announcement, kind: Kind, announcement: Announcement) -> bool:
    """Whether the maker of `holder` fetches blobs of this kind of the announcement, by what each is made for."""
    theirs, its = holder.fingerprints, announcement.fingerprints
    if kind == "update":
        return mismatch(theirs, its, OWN_FIELDS) is None
    return (theirs.tokenizer == its.tokenizer) == (kind == "evidence")
