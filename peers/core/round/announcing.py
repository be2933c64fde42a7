"""The announcement of a state: signed, and with the predictions inside where they fit and are shown to anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET

from gossipllm.work import PushedShare
from peers.core.others.admission import Keys
from peers.core.saved import Saved, announced_of
from trust.rows.units.importance import Importance
from wire.codec import MAX_INLINE_BYTES, announcement_digest, encode_announcement
from wire.digest import NO_DIGEST, Content
from wire.importance import MAX_LAYERS, encode_importance
from wire.messages import Announcement, BlobRef, ContextRef, PackedRef, ShareRef
from wire.updates.units import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementExtras:
    """What is announced beside the saved state. `shares` go with the public keys of their receivers. `commits` says
    that the predictions are only committed to, and shown later (`peers.core.others.blobs.showing`), `holds` names the
    authors whose blobs this peer holds."""

    offer: Offer
    capacity: int
    shares: Sequence[tuple[bytes, PushedShare]]
    contexts: tuple[ContextRef, ...]
    commits: bool
    holds: bytes


def announcement_frame(
    state: Saved, extras: AnnouncementExtras, keys: Keys, *, net: bytes, name: str, now: float
) -> bytes:
    """The signed frame for the local steps that led to `state`, whose own frame is still the last announcement."""
    announced = announced_of(state)
    local, evidence = announced.local, announced.evidence
    inline = not extras.commits and evidence.size <= MAX_INLINE_BYTES
    return encode_announcement(
        Announcement(
            v=3,
            net=net,
            fingerprints=state.fingerprints,
            author=keys.public_key,
            name=name,
            round=state.round,
            previous=announcement_digest(state.frame) if state.frame else NO_DIGEST,
            update=_ref(announced.update),
            offer=extras.offer,
            packed=tuple(PackedRef(base=one.base, blob=_ref(one.content)) for one in state.packed) or UNSET,
            evidence=_ref(evidence),
            tokens=local.tokens,
            samples=local.samples,
            steps=local.steps,
            tokens_total=state.tokens_total,
            samples_total=state.samples_total,
            capacity=extras.capacity,
            importance=_importance(state.importance),
            shares=tuple(ShareRef(to=key, blob=_ref(share.content)) for key, share in extras.shares),
            contexts=extras.contexts,
            byte_rows=UNSET if announced.byte_rows is None else _ref(announced.byte_rows),
            holds=extras.holds or UNSET,
            capabilities=(),
            sent_at_s=max(0, int(now)),
        ),
        keys.sign,
        payload=evidence.data if inline else b"",
    )


def _ref(content: Content) -> BlobRef:
    return BlobRef(digest=content.digest, size=content.size)


def _importance(importance: Importance) -> bytes:
    """Empty where nothing was measured, or the model has more layers than an announcement can hold."""
    known = any(value is not None for value in importance)
    return encode_importance(importance) if known and len(importance) <= MAX_LAYERS else b""
