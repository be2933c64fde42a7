"""Compressed contexts: those that this peer made, for others, and those that it fetches, for itself.

A context is a pure function of what its key names, so whoever made it, it should be the same bytes. Where
neighbours announce different ones under one key, somebody is wrong: the one is fetched whose announcers weigh most
in our last row, of those that failed least often: what is announced and never given must not stand in the way of
what is. The learner looks into it before it uses it, and what it refused is let go of and not fetched again.

They are large, so few are held, one is on its way at a time, and none is kept on disk: a peer that has none trains
without, and nobody waits.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gossipllm.work import MadeContext
from peers.core.effects import Pull
from peers.core.events import PeerId
from peers.core.others.inbox import ReceivedAnnouncement
from wire.digest import Content
from wire.messages import MAX_CONTEXTS, BlobRef, ContextRef

MAX_FETCHED = 2
"""Fetched contexts held: that of the window being trained, and that of the next."""
MAX_SOURCES = 4
"""Announcers of a context that are asked for it, one after the other."""
MAX_FAILED = 64
"""Blobs remembered that could not be had, and that the learner refused; the one that failed longest ago goes first."""


@dataclass(frozen=True, slots=True)
class _Source:
    ref: BlobRef
    peers: tuple[PeerId, ...]


class ContextExchange:
    def __init__(self, keys: Sequence[bytes], *, most_bytes: int, requests: Iterator[int]) -> None:
        self._keys = frozenset(keys)
        self._most_bytes = most_bytes
        self._requests = requests
        self._made: dict[bytes, Content] = {}
        self._fetched: dict[bytes, Content] = {}
        self._wanted: bytes | None = None
        self._open: tuple[int, bytes, BlobRef] | None = None
        """Request, key and blob of the one on its way."""
        self._failed: dict[BlobRef, int] = {}
        """How often each could not be had."""
        self._refused: dict[bytes, None] = {}
        """Digests of those that the learner would not train within."""

    # -- for others ---------------------------------------------------------------------------------

    def made(self, contexts: Sequence[MadeContext]) -> None:
        """Take what can be given to others; the last ones made stay."""
        for one in contexts:
            self._made.pop(one.key, None)
            self._made[one.key] = one.content
        while len(self._made) > MAX_CONTEXTS:
            del self._made[next(iter(self._made))]

    def refs(self) -> tuple[ContextRef, ...]:
        return tuple(
            ContextRef(key=key, blob=BlobRef(digest=one.digest, size=one.size))
            for key, one in self._made.items()
        )

    def blob(self, digest: bytes) -> Content | None:
        held = (*self._made.values(), *self._fetched.values())
        return next((content for content in held if content.digest == digest), None)

    # -- for ourselves ------------------------------------------------------------------------------

    def within_reach(self, entries: Sequence[ReceivedAnnouncement]) -> frozenset[bytes]:
        """Keys of contexts that are here or that somebody announces."""
        announced = (one.key for entry in entries for one in self._announced(entry))
        return frozenset(self._fetched) | frozenset(announced)

    def want(self, key: bytes | None) -> None:
        """The context that the next window needs; None for none."""
        self._wanted = key

    @property
    def held(self) -> Mapping[bytes, Content]:
        """Fetched contexts by key."""
        return self._fetched

    def fetch(
        self,
        entries: Sequence[ReceivedAnnouncement],
        weights: Mapping[PeerId, float],
        connected: Collection[PeerId],
    ) -> list[Pull]:
        """Ask for what is wanted, if it is not here or on its way and somebody has it."""
        key = self._wanted
        if key is None or key in self._fetched or self._open is not None:
            return []
        source = self._source(key, entries, weights, connected)
        if source is None:
            return []
        request = next(self._requests)
        self._open = request, key, source.ref
        return [Pull(request=request, digest=source.ref.digest, size=source.ref.size, sources=source.peers)]

    def ends(self, request: int, content: Content | None) -> bool:
        """Take the answer to a pull of ours, None where it failed; False where it is not one of ours."""
        if self._open is None or self._open[0] != request:
            return False
        _, key, ref = self._open
        self._open = None
        if content is not None and content.digest == ref.digest:
            self._fetched[key] = content
            while len(self._fetched) > MAX_FETCHED:
                del self._fetched[next(iter(self._fetched))]
        else:
            self._failed[ref] = self._failed.pop(ref, 0) + 1
            while len(self._failed) > MAX_FAILED:
                del self._failed[next(iter(self._failed))]
        return True

    def refused(self, content: Content) -> None:
        """The learner found it to be a bad one: another one is fetched, or none."""
        self._fetched = {key: held for key, held in self._fetched.items() if held.digest != content.digest}
        self._refused.pop(content.digest, None)
        self._refused[content.digest] = None
        while len(self._refused) > MAX_FAILED:
            del self._refused[next(iter(self._refused))]

    def _source(
        self,
        key: bytes,
        entries: Sequence[ReceivedAnnouncement],
        weights: Mapping[PeerId, float],
        connected: Collection[PeerId],
    ) -> _Source | None:
        # By digest and size: who lies about the size alone must not spoil the fetch from those who do not.
        announcers: dict[BlobRef, list[PeerId]] = {}
        for entry in entries:
            for one in self._announced(entry):
                if one.key == key:
                    announcers.setdefault(one.blob, []).append(entry.author)
        if not announcers:
            return None

        def standing(ref: BlobRef) -> tuple[int, float, int, bytes, int]:
            peers = announcers[ref]
            weight = math.fsum(weights.get(peer, 0.0) for peer in peers)
            return -self._failed.get(ref, 0), weight, len(peers), ref.digest, ref.size

        best = max(announcers, key=standing)
        near = [peer for peer in announcers[best] if peer in connected]
        return _Source(best, tuple((near or announcers[best])[:MAX_SOURCES]))

    def _announced(self, entry: ReceivedAnnouncement) -> list[ContextRef]:
        return [
            one
            for one in entry.announcement.contexts
            if one.key in self._keys
            and one.blob.size <= self._most_bytes
            and one.blob.digest not in self._refused
        ]
