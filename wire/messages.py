"""The typed messages that peers exchange; every field bounded, every message frozen.

msgspec checks types and bounds while it decodes and names the field that is wrong. What it cannot
check (canonical bytes, relations between fields, signatures) is in `codec.py`. No message holds a
shape, a dtype string or a type name: those follow from the base model and the schema of its units, which
both sides must share and whose fingerprints every message states, and from the announced offer.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from wire.digest import DIGEST_BYTES, fingerprint_of
from wire.importance import MAX_LAYERS
from wire.units import Offer

PROTOCOL = "gossipllm/2"
"""Protocol name and version; part of every network's id, so versions never mix by accident."""

ANNOUNCE_TOPIC = "gossipllm/announce/2"
KNOWN_PROTOCOL = "/gossipllm/known/1"
BLOB_PROTOCOL = "/gossipllm/blob/1"

KEY_BYTES = 32
MAX_ROUND = 2**31 - 1
MAX_BLOB_BYTES = 2**31 - 1
MAX_SHARES = 8
MAX_CONTEXTS = 4
"""Shares and contexts of one announcement: with all else at its longest it fits `codec.MAX_ANNOUNCEMENT_BYTES`."""
MAX_CAPACITY = 1_000
MAX_KNOWN = 1_000
"""Authors in one greeting, about 40 bytes each. Guess."""
MAX_FRAMES = 42
"""Announcements in one reply; at 6 KiB each a reply stays under `codec.MAX_REPLY_BYTES`."""

Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Key = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
Round = Annotated[int, msgspec.Meta(ge=0, le=MAX_ROUND)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Name = Annotated[str, msgspec.Meta(max_length=32)]
Capability = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What all messages share: frozen, no unknown fields, and no cycles for the garbage collector to look for."""


class BlobRef(Message, frozen=True, kw_only=True):
    """A blob that can be pulled: SHA-256 of its bytes, and how many there are."""

    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOB_BYTES)]


class ShareRef(Message, frozen=True, array_like=True, kw_only=True):
    """What an author has pushed to one receiver so far, in a network that mixes by push-sum: a blob of its own."""

    to: Key
    blob: BlobRef


class ContextRef(Message, frozen=True, array_like=True, kw_only=True):
    """A compressed context that can be pulled: `key` says of what it is a function, the blob is what came out."""

    key: Digest
    blob: BlobRef


class Fingerprints(Message, frozen=True, kw_only=True):
    """What two peers must share before their numbers mean the same.

    `base`: weights of the frozen model. `tokenizer`: its vocabulary and rules. `reference`: the
    reference set and how many entries of each prediction travel. `layout`: the units of an adapter with the
    shapes of their tensors but for the rank, their type on the wire, and what else their meaning hangs on (scale,
    initial A, what is trained).
    """

    base: Digest
    tokenizer: Digest
    reference: Digest
    layout: Digest


class Announcement(Message, frozen=True, kw_only=True):
    """A peer's state as of a round, by reference. Signed; see `codec.encode_announcement`.

    `author` is the raw Ed25519 public key, of which the libp2p peer id is a function. `previous` is
    the digest of the author's previous announcement, so that a fork can be proved. `offer` is what the update
    holds. `tokens`, `samples` and `steps` count what was processed since the author's last announcement, the
    totals all that ever was; tokens are those that bear loss. `capacity` is the author's share of the work where
    units are dealt out, relative to others'. `importance` says of each layer how much the author's loss depends
    on it (`importance.py`). A receiver's key stands once in `shares`, a context's once in `contexts`.
    `sent_at_s` (Unix seconds) informs people; no decision uses a remote clock.
    """

    v: Literal[2] = 2
    net: Digest
    fingerprints: Fingerprints
    author: Key
    name: Name
    round: Round
    previous: Digest
    update: BlobRef
    offer: Offer
    evidence: BlobRef
    tokens: Count
    samples: Count
    steps: Count
    tokens_total: Count
    samples_total: Count
    capacity: Annotated[int, msgspec.Meta(ge=1, le=MAX_CAPACITY)]
    importance: Annotated[bytes, msgspec.Meta(max_length=4 * MAX_LAYERS)]
    shares: Annotated[tuple[ShareRef, ...], msgspec.Meta(max_length=MAX_SHARES)]
    contexts: Annotated[tuple[ContextRef, ...], msgspec.Meta(max_length=MAX_CONTEXTS)]
    capabilities: Annotated[tuple[Capability, ...], msgspec.Meta(max_length=16)]
    sent_at_s: Count


class Latest(Message, frozen=True, array_like=True, kw_only=True):
    """The newest round that somebody holds of an author."""

    author: Key
    round: Round


class Greeting(Message, frozen=True, kw_only=True):
    """Sent on every new connection, and from time to time: who we are, what we already hold.

    Anti-entropy: the answer brings what the greeter lacks, since GossipSub repairs neither a late
    join nor a healed partition by itself.
    """

    v: Literal[1] = 1
    net: Digest
    fingerprints: Fingerprints
    latest: Annotated[tuple[Latest, ...], msgspec.Meta(max_length=MAX_KNOWN)]


class Reply(Message, frozen=True, kw_only=True):
    """The answer to a greeting: who we are, and signed announcements newer than the greeter's."""

    v: Literal[1] = 1
    net: Digest
    fingerprints: Fingerprints
    frames: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=MAX_FRAMES)]


def network_id(name: str, fingerprints: Fingerprints) -> bytes:
    """The id of a network, 32 bytes: protocol version, its name, and the four fingerprints."""
    return fingerprint_of(
        PROTOCOL,
        (
            name.encode(),
            fingerprints.base,
            fingerprints.tokenizer,
            fingerprints.reference,
            fingerprints.layout,
        ),
    )
