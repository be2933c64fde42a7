"""Exchange of compressed contexts: those that this peer made are offered, those that it needs are fetched.

A context is a pure function of what its key names, so all peers should make the same bytes. Where neighbours
announce different bytes under one key, one of them is wrong. The candidate that failed least often is fetched, and
among equals the one whose announcers weigh most in the last row: a context that is announced and never delivered
must not block one that is delivered. The learner verifies a context before it uses it; a refused one is dropped and
not fetched again.

Contexts are large, so few are held, one is fetched at a time, and none is kept on disk. A peer without the context
that it wants trains without it, and does not wait.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gossipllm.work import MadeContext
from peers.core.effects import Pull
from peers.core.events import PeerId
from peers.core.others.inbox import ReceivedAnnouncement
from wire.bounded import BoundedDict
from wire.digest import Content
from wire.messages import MAX_CONTEXTS, BlobRef, ContextRef

MAX_FETCHED = 2
"""Fetched contexts held: for the block window in training, and for the next."""
MAX_SOURCES = 4
"""Announcers of a context that are asked for it, in turn."""
MAX_FAILED = 64
"""Remembered contexts that could not be fetched, and as many that the learner refused; the oldest are forgotten
first."""


@dataclass(frozen=True, slots=True)
class _Source:
    ref: BlobRef
    peers: tuple[PeerId, ...]


class ContextExchange:
    """Contexts by key: made, fetched, wanted, failed and refused."""

    def __init__(self, keys: Sequence[bytes], *, most_bytes: int, requests: Iterator[int]) -> None:
        self._keys = frozenset(keys)
        self._most_bytes = most_bytes
        self._requests = requests
        self._made = BoundedDict[bytes, Content](MAX_CONTEXTS)
        self._fetched = BoundedDict[bytes, Content](MAX_FETCHED)
        self._wanted: bytes | None = None
        self._open: tuple[int, bytes, BlobRef] | None = None
        """Request, key and blob of the fetch that is open."""
        self._failed = BoundedDict[BlobRef, int](MAX_FAILED)
        """How often fetching each blob failed."""
        self._refused = BoundedDict[bytes, None](MAX_FAILED)
        """Digests of contexts that the learner refused."""

    # -- for others ---------------------------------------------------------------------------------

    def made(self, contexts: Sequence[MadeContext]) -> None:
        """Take contexts that can be given to others; the newest `MAX_CONTEXTS` stay."""
        for one in contexts:
            self._made.renew(one.key, one.content)

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
        """Keys of contexts that are held here or announced by a neighbour."""
        announced = (one.key for entry in entries for one in self._announced(entry))
        return frozenset(self._fetched) | frozenset(announced)

    def want(self, key: bytes | None) -> None:
        """Set the key of the context that the next block window needs; None for none."""
        self._wanted = key

    @property
    def held(self) -> Mapping[bytes, Content]:
        """Fetched contexts by key."""
        return self._fetched

    @property
    def seeks(self) -> bool:
        """Whether a context is wanted that is neither here nor being fetched."""
        return self._wanted is not None and self._wanted not in self._fetched and self._open is None

    def fetch(
        self,
        entries: Sequence[ReceivedAnnouncement],
        weights: Mapping[PeerId, float],
        connected: Collection[PeerId],
    ) -> list[Pull]:
        """Ask for the wanted context, if it is neither here nor being fetched, and a neighbour announces it."""
        key = self._wanted
        if key is None or not self.seeks:
            return []
        source = self._source(key, entries, weights, connected)
        if source is None:
            return []
        request = next(self._requests)
        self._open = request, key, source.ref
        return [Pull(request=request, digest=source.ref.digest, size=source.ref.size, sources=source.peers)]

    def ends(self, request: int, content: Content | None) -> bool:
        """Take the answer to a pull, None where it failed. False where the request was for something else."""
        if self._open is None or self._open[0] != request:
            return False
        _, key, ref = self._open
        self._open = None
        if content is not None and content.digest == ref.digest:
            self._fetched[key] = content
        else:
            self._failed.renew(ref, self._failed.get(ref, 0) + 1)
        return True

    def refused(self, content: Content) -> None:
        """Drop a context that the learner refused; other bytes under its key may still be fetched."""
        for key in [key for key, held in self._fetched.items() if held.digest == content.digest]:
            del self._fetched[key]
        self._refused.renew(content.digest, None)

    def _source(
        self,
        key: bytes,
        entries: Sequence[ReceivedAnnouncement],
        weights: Mapping[PeerId, float],
        connected: Collection[PeerId],
    ) -> _Source | None:
        # By digest and size: a peer that lies about the size alone must not spoil the fetch from honest ones.
        announcers: dict[BlobRef, list[PeerId]] = {}
        for entry in entries:
            for one in self._announced(entry):
                if one.key == key:
                    announcers.setdefault(one.blob, []).append(entry.author)
        if not announcers:
            return None

        def preference(ref: BlobRef) -> tuple[int, float, int, bytes, int]:
            peers = announcers[ref]
            weight = math.fsum(weights.get(peer, 0.0) for peer in peers)
            return -self._failed.get(ref, 0), weight, len(peers), ref.digest, ref.size

        best = max(announcers, key=preference)
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
