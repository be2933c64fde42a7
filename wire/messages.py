"""The typed messages that peers exchange; every field bounded, every message frozen.

msgspec checks types and bounds while it decodes and names the field that is wrong. What it cannot
check (canonical bytes, relations between fields, signatures) is in `codec.py`. No message holds a
shape, a dtype string or a type name: those follow from the base model and the adapter layout, which
both sides must share and whose fingerprints every message states.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from wire.digest import DIGEST_BYTES, fingerprint_of

PROTOCOL = "gossipllm/1"
"""Protocol name and version; part of every network's id, so versions never mix by accident."""

ANNOUNCE_TOPIC = "gossipllm/announce/1"
KNOWN_PROTOCOL = "/gossipllm/known/1"
BLOB_PROTOCOL = "/gossipllm/blob/1"

KEY_BYTES = 32
MAX_ROUND = 2**31 - 1
MAX_BLOB_BYTES = 2**31 - 1
MAX_KNOWN = 1_000
"""Authors in one greeting, about 40 bytes each. Guess."""
MAX_FRAMES = 48
"""Announcements in one reply; at 4 KiB each a reply stays under `codec.MAX_REPLY_BYTES`."""

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


class Fingerprints(Message, frozen=True, kw_only=True):
    """What two peers must share before their numbers mean the same.

    `base`: weights of the frozen model. `tokenizer`: its vocabulary and rules. `reference`: the
    reference set and how many entries of each prediction travel. `layout`: names and shapes of the
    adapter's tensors, their type on the wire, and what else their meaning hangs on (scale, initial A).
    """

    base: Digest
    tokenizer: Digest
    reference: Digest
    layout: Digest


class Announcement(Message, frozen=True, kw_only=True):
    """A peer's state as of a round, by reference. Signed; see `codec.encode_announcement`.

    `author` is the raw Ed25519 public key, of which the libp2p peer id is a function. `previous` is
    the digest of the author's previous announcement, so that a fork can be proved. `tokens`, `samples`
    and `steps` count what was processed since the author's last announcement; tokens are those that
    bear loss. `sent_at_s` (Unix seconds) informs people; no decision uses a remote clock.
    """

    v: Literal[1] = 1
    net: Digest
    fingerprints: Fingerprints
    author: Key
    name: Name
    round: Round
    previous: Digest
    update: BlobRef
    evidence: BlobRef
    tokens: Count
    samples: Count
    steps: Count
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
