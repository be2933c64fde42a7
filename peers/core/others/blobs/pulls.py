"""Pulls: fetches of the blobs of one announcement per author at a time, and the check of what they bring.

An author that announces faster than its blobs travel is fetched from as fast as they travel, each time its newest
announcement, and never has a heap of fetches open. A failed fetch is tried again when the round publishes and at
every comparison, from other neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from peers.core.effects import Pull
from peers.core.events import PeerId
from peers.core.others.inbox import Kind, ReceivedAnnouncement
from peers.core.terms import Terms
from wire.bounded import BoundedDict
from wire.digest import Content
from wire.errors import WireError
from wire.messages import Announcement, BlobRef
from wire.predictions.byte_rows import decode_byte_rows
from wire.predictions.logits import check_evidence
from wire.updates.packed_updates import unpack_update
from wire.updates.units import check_offered, offer_of

MAX_RMS = 1e4
"""Largest root mean square of a tensor. Guess: factors of LoRA that still train stay below 10. No other peer's numbers
are a measure here, because whoever sends large ones would move it; a merge bounds the product of the factors by this
peer's own (`gossipllm.learning.merging.clipping`)."""
LARGE_FINE = -5.0
BAD_CONTENT_FINE = -50.0
BAD_PACKING_FINE = -5.0
"""For a packed form that does not give the announced update. The update is fetched whole then."""
MAX_GOOD = 64
"""Digests of predictions that passed the check: equal bytes are not decoded again."""
MAX_OPEN = 64
"""Fetches open at a time. Guess; partners are fewer, and authors come and go."""
RELAYS = 2
"""Neighbours asked for a blob after its author and the neighbour that passed the announcement on."""


@dataclass(frozen=True, slots=True)
class ContentFault:
    """What is wrong with a blob. `fine` is what it costs the author, 0 where it may be honest."""

    field: str
    why: str
    fine: float


class PackedForm(msgspec.Struct, frozen=True):
    """A packed form to fetch in place of the update, and the update that it is told apart from, where there is one."""

    ref: BlobRef
    base: Content | None


class Fetch(msgspec.Struct, frozen=True):
    entry: ReceivedAnnouncement
    kind: Kind
    packing: PackedForm | None = None

    @property
    def ref(self) -> BlobRef:
        """What is asked for."""
        return self.entry.ref(self.kind) if self.packing is None else self.packing.ref


class Pulls:
    """Open fetches by request id."""

    def __init__(self, terms: Terms, requests: Iterator[int]) -> None:
        self._terms = terms
        self._requests = requests
        self._open: dict[int, Fetch] = {}
        self._good = BoundedDict[tuple[Kind, bytes], None](MAX_GOOD)

    def busy(self, author: PeerId) -> bool:
        if len(self._open) >= MAX_OPEN:
            return True
        return author in [one.entry.author for one in self._open.values()]

    def begin(
        self,
        entry: ReceivedAnnouncement,
        kind: Kind,
        connected: Sequence[PeerId],
        packing: PackedForm | None = None,
    ) -> Pull:
        request = next(self._requests)
        fetch = self._open[request] = Fetch(entry, kind, packing)
        return Pull(
            request=request,
            digest=fetch.ref.digest,
            size=fetch.ref.size,
            sources=_sources(entry, connected, turn=request),
        )

    def end(self, request: int) -> Fetch | None:
        """Close and return the fetch that was answered; None for an unknown request."""
        return self._open.pop(request, None)

    def unpacked(self, fetch: Fetch, content: Content) -> Content:
        """The update in a packed form that was fetched. Raises `WireError` where it is not the announced one."""
        assert fetch.packing is not None, "a packed form was asked for"
        announced, base = fetch.entry.announcement, fetch.packing.base
        data = unpack_update(
            content.data, self._terms.schema, announced.offer, None if base is None else base.data
        )
        whole = Content.of(data)
        if whole.digest != announced.update.digest:
            raise WireError("packed.digest", "gives another update than the announced one")
        return whole

    def check_evidence(self, content: Content) -> ContentFault | None:
        return self._check_once("evidence", content, lambda data: check_evidence(data, self._terms.rows))

    def check(self, fetch: Fetch, content: Content) -> ContentFault | None:
        """The fault of a fetched blob, None where there is none."""
        if fetch.kind == "evidence":
            return self.check_evidence(content)
        if fetch.kind == "byte_rows":
            return self._check_byte_rows(content)
        if self._terms.pushes:
            # Any bits are a share, and its length was announced and checked.
            return None
        try:
            self._check_offer(fetch.entry.announcement, content)
            norms = check_offered(content.data, self._terms.schema)
        except WireError as error:
            return ContentFault(error.field, error.why, BAD_CONTENT_FINE)
        for name, size in norms.items():
            if size > MAX_RMS:
                why = f"root mean square is {size:.3g}, at most {MAX_RMS:g} is allowed"
                return ContentFault(f"update.{name}", why, LARGE_FINE)
        return None

    def _check_byte_rows(self, content: Content) -> ContentFault | None:
        shape = self._terms.byte_shape
        assert shape is not None, "byte rows are fetched where the reference set has them"
        return self._check_once("byte_rows", content, lambda data: decode_byte_rows(data, shape))

    def _check_once(
        self, kind: Kind, content: Content, check: Callable[[bytes], object]
    ) -> ContentFault | None:
        if (kind, content.digest) in self._good:
            return None
        try:
            check(content.data)
        except WireError as error:
            return ContentFault(error.field, error.why, BAD_CONTENT_FINE)
        self._good[kind, content.digest] = None
        return None

    def _check_offer(self, announcement: Announcement, content: Content) -> None:
        if offer_of(content.data, self._terms.schema) != announcement.offer:
            raise WireError("update.offer", "not the one that was announced")


def _sources(entry: ReceivedAnnouncement, connected: Sequence[PeerId], *, turn: int) -> tuple[PeerId, ...]:
    """Whom to ask for a blob: the author and the neighbour that passed it on, where connected, then others in turn."""
    near = [one for one in dict.fromkeys((entry.author, entry.via)) if one in connected]
    others = [one for one in connected if one not in near]
    start = turn % len(others) if others else 0
    relays = (others[start:] + others[:start])[:RELAYS]
    return tuple(near + relays) or (entry.author,)
