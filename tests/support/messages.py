"""Fields of messages, for builders that change a few of them."""

from __future__ import annotations

from typing import TypedDict

from msgspec import UnsetType

from wire.messages import BlobRef, ContextRef, Fingerprints, PackedRef, ShareRef
from wire.updates.units import Offer


class AnnouncementFields(TypedDict, total=False):
    v: int
    net: bytes
    fingerprints: Fingerprints
    author: bytes
    name: str
    round: int
    previous: bytes
    update: BlobRef
    offer: Offer
    packed: tuple[PackedRef, ...] | UnsetType
    evidence: BlobRef
    tokens: int
    samples: int
    steps: int
    tokens_total: int
    samples_total: int
    capacity: int
    importance: bytes
    shares: tuple[ShareRef, ...]
    contexts: tuple[ContextRef, ...]
    byte_rows: BlobRef | UnsetType
    holds: bytes | UnsetType
    capabilities: tuple[str, ...]
    sent_at_s: int
