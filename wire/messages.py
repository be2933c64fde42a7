"""The typed messages that peers exchange. Every field is bounded and every message is frozen.

msgspec checks types and bounds while it decodes, and names the field that is wrong. `codec.py` checks what msgspec
cannot: canonical bytes, and relations between fields. No message holds a shape, a dtype string or a type name: these
follow from the announced offer, the base model and the schema of its units. Peers whose fingerprints of these are
equal can read each other's updates, peers with equal tokenizers each other's predictions, and all peers of a network
each other's byte rows.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from wire.digest import DIGEST_BYTES, fingerprint_of
from wire.holders import MAX_HOLDS, PREFIX_BYTES
from wire.importance import MAX_LAYERS
from wire.updates.units import Offer

PROTOCOL_VERSION: Final = 3
"""Part of every network id, so peers of different versions never mix."""

ANNOUNCE_TOPIC = "gossipllm/announce/3"
KNOWN_PROTOCOL = "/gossipllm/known/1"
BLOB_PROTOCOL = "/gossipllm/blob/1"

_UNMARKED_VERSIONS: Final = (1, 2)
"""Versions whose network ids do not say that they are of them."""
_VERSION_BYTES: Final = 4
"""How many bytes of a network id say its version, little-endian."""
_LAST_VERSION: Final = 255
"""Latest version that is recognised. The digest of a version without marks looks like one of these once in 2^24."""

KEY_BYTES = 32
MAX_ROUND = 2**31 - 1
MAX_BLOB_BYTES = 2**31 - 1
MAX_SHARES = 8
MAX_CONTEXTS = 4
MAX_CAPABILITIES = 12
"""Most shares, contexts and capabilities of one announcement; with every other field at its maximum length it still
fits `codec.MAX_ANNOUNCEMENT_BYTES`."""
MAX_PACKED = 2
"""Most packed forms of an update: a key frame, and one for those that hold the author's last update."""
MAX_CAPACITY = 1_000
MAX_KNOWN = 1_000
"""Most authors in one greeting, about 40 bytes each. Guess."""
MAX_FRAMES = 42
"""Most announcements in one reply; at 6 KiB each a reply stays below `codec.MAX_REPLY_BYTES`."""

Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Key = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
Round = Annotated[int, msgspec.Meta(ge=0, le=MAX_ROUND)]
# Up to 2^53 every integer is a float64, so that arithmetic on counts stays exact.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Name = Annotated[str, msgspec.Meta(max_length=32)]
Capability = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of all messages: frozen, without unknown fields, and without cycles (`gc=False`)."""


class BlobRef(Message, frozen=True, kw_only=True):
    """Reference to a blob that can be pulled: the SHA-256 and the number of its bytes."""

    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOB_BYTES)]


class ShareRef(Message, frozen=True, array_like=True, kw_only=True):
    """Reference to the blob of all mass that an author has pushed to the receiver `to`, in a push-sum network."""

    to: Key
    blob: BlobRef


class ContextRef(Message, frozen=True, array_like=True, kw_only=True):
    """Reference to a compressed context that can be pulled.

    `key` is a digest of what the context is computed from (model, block window, settings), `blob` is the result.
    """

    key: Digest
    blob: BlobRef


class PackedRef(Message, frozen=True, array_like=True, kw_only=True):
    """Reference to the announced update in packed form (`updates/packing.py`).

    `base` is the digest of the update that it is told apart from, `NO_DIGEST` for a key frame, which needs none.
    """

    base: Digest
    blob: BlobRef


class Fingerprints(Message, frozen=True, kw_only=True):
    """Digests of what two peers must have in common for their numbers to have the same meaning.

    `base`: weights of the frozen model. `tokenizer`: its vocabulary and rules. `reference`: the reference set and the
    number of entries sent of each prediction. `layout`: the units of an adapter, the shapes of their tensors without
    the rank, their type on the wire, and what else their meaning depends on (scale, initial A, what is trained).
    The reference is that of the network; the other three are the author's own.
    """

    base: Digest
    tokenizer: Digest
    reference: Digest
    layout: Digest


class Announcement(Message, frozen=True, kw_only=True):
    """A peer's state as of a round, by reference to blobs. Signed; see `codec.encode_announcement`.

    `author` is the raw Ed25519 public key, which determines the libp2p peer id. `previous` is the digest of the
    author's previous announcement, so that a fork can be proved. `offer` is what the update holds, `packed` are smaller
    forms of it, of each base at most one; without any, the key is left out. `tokens`, `samples` and `steps` count what
    was processed since the author's last announcement, and the totals count all that was ever processed; only tokens
    that bear loss count. `capacity` is the author's share of the work, relative to other peers, where units are divided
    among peers. `importance` holds how much the author's loss depends on each layer (`importance.py`). `shares` holds
    each receiver's key at most once, `contexts` each context's key at most once. `byte_rows` are predictions for peers
    of other tokenizers (`predictions/byte_rows.py`); the key is left out where the author made none, so that a network
    of one tokenizer pays nothing for it. `holds` names authors whose blobs this author holds (`holders.py`); the key is
    left out where it names none. `sent_at_s` (Unix seconds) is for display; no decision uses a remote clock.
    """

    v: Literal[3] = 3
    net: Digest
    fingerprints: Fingerprints
    author: Key
    name: Name
    round: Round
    previous: Digest
    update: BlobRef
    offer: Offer
    packed: (
        Annotated[tuple[PackedRef, ...], msgspec.Meta(min_length=1, max_length=MAX_PACKED)] | UnsetType
    ) = UNSET
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
    byte_rows: BlobRef | UnsetType = UNSET
    holds: (
        Annotated[bytes, msgspec.Meta(min_length=PREFIX_BYTES, max_length=PREFIX_BYTES * MAX_HOLDS)]
        | UnsetType
    ) = UNSET
    capabilities: Annotated[tuple[Capability, ...], msgspec.Meta(max_length=MAX_CAPABILITIES)]
    sent_at_s: Count


class Latest(Message, frozen=True, array_like=True, kw_only=True):
    """The newest round of an author that the greeting peer holds."""

    author: Key
    round: Round


class Greeting(Message, frozen=True, kw_only=True):
    """The greeting peer's network and the rounds that it holds; sent on every new connection and periodically.

    Anti-entropy: the reply brings the announcements that the greeting peer lacks, because GossipSub repairs neither a
    late join nor a healed partition.
    """

    v: Literal[1] = 1
    net: Digest
    fingerprints: Fingerprints
    latest: Annotated[tuple[Latest, ...], msgspec.Meta(max_length=MAX_KNOWN)]


class Reply(Message, frozen=True, kw_only=True):
    """The answer to a greeting: the answering peer's network, and signed announcements that the greeting peer lacks."""

    v: Literal[1] = 1
    net: Digest
    fingerprints: Fingerprints
    frames: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=MAX_FRAMES)]


def network_id(name: str, reference: bytes, *, version: int = PROTOCOL_VERSION) -> bytes:
    """The id of a network, 32 bytes: the protocol version, and a digest of it, the network's name and its reference
    set. So a peer of any later version is known for one, whatever else its messages say."""
    digest = fingerprint_of(f"gossipllm/{version}", (name.encode(), reference))
    return version.to_bytes(_VERSION_BYTES, "little") + digest[: DIGEST_BYTES - _VERSION_BYTES]


def version_of(net: bytes, name: str, fingerprints: Fingerprints) -> int | None:
    """The protocol version that a network id is of; None where that is not known. Ids of versions 1 and 2 are digests
    of the version, the name and all four fingerprints, and are known only where these are theirs."""
    marked = int.from_bytes(net[:_VERSION_BYTES], "little")
    if _UNMARKED_VERSIONS[-1] < marked <= _LAST_VERSION:
        return marked
    one = fingerprints
    parts = (name.encode(), one.base, one.tokenizer, one.reference, one.layout)
    for version in _UNMARKED_VERSIONS:
        if net == fingerprint_of(f"gossipllm/{version}", parts):
            return version
    return None
