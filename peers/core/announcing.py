"""The announcement that a peer makes of its state: signed, and with the predictions inside where they fit."""

from __future__ import annotations

from gossipllm.work import Trained
from peers.core.admission import Keys
from peers.core.saved import Saved
from wire.codec import MAX_INLINE_BYTES, announcement_digest, encode_announcement
from wire.digest import NO_DIGEST
from wire.messages import Announcement, BlobRef


def announcement_frame(
    saved: Saved, trained: Trained, keys: Keys, *, net: bytes, name: str, now: float
) -> bytes:
    """The frame for the local steps of `saved.round`; `saved.frame` is the announcement before, if any."""
    previous = announcement_digest(saved.frame) if saved.frame else NO_DIGEST
    inline = trained.evidence.size <= MAX_INLINE_BYTES
    return encode_announcement(
        Announcement(
            v=1,
            net=net,
            fingerprints=saved.fingerprints,
            author=keys.public_key,
            name=name,
            round=saved.round,
            previous=previous,
            update=BlobRef(digest=trained.update.digest, size=trained.update.size),
            evidence=BlobRef(digest=trained.evidence.digest, size=trained.evidence.size),
            tokens=trained.tokens,
            samples=trained.samples,
            steps=trained.steps,
            capabilities=(),
            sent_at_s=max(0, int(now)),
        ),
        keys.sign,
        payload=trained.evidence.data if inline else b"",
    )
