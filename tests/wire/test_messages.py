"""Encoding and decoding messages, and agreement with an independent MessagePack library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from support.wire_frames import (
    as_plain,
    encoded_header,
    framed,
    make_announcement,
    packed,
    unpacked,
)
from wire.codec import (
    decode_announcement,
    decode_greeting,
    decode_reply,
    encode_announcement,
    encode_greeting,
    encode_reply,
)
from wire.digest import fingerprint_of
from wire.holders import MAX_HOLDS, encode_holds
from wire.messages import (
    MAX_BLOB_BYTES,
    MAX_CAPACITY,
    MAX_CONTEXTS,
    MAX_PACKED,
    MAX_ROUND,
    MAX_SHARES,
    Announcement,
    BlobRef,
    ContextRef,
    Fingerprints,
    Greeting,
    Latest,
    PackedRef,
    Reply,
    ShareRef,
    network_id,
    version_of,
)
from wire.updates.units import MAX_RANK, Offer


def several(
    one: st.SearchStrategy[Any], most: int, key: Callable[[Any], bytes]
) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(one, max_size=most, unique_by=key).map(tuple)


DIGESTS = st.binary(min_size=32, max_size=32)
ROUNDS = st.integers(0, MAX_ROUND)
COUNTS = st.integers(0, 2**53)
REFS = st.builds(BlobRef, digest=DIGESTS, size=st.integers(1, MAX_BLOB_BYTES))
FINGERPRINTS = st.builds(Fingerprints, base=DIGESTS, tokenizer=DIGESTS, reference=DIGESTS, layout=DIGESTS)
OFFERS = st.builds(Offer, st.integers(0, MAX_RANK), st.binary(max_size=20))
ANNOUNCEMENTS = st.builds(
    Announcement,
    v=st.just(3),
    net=DIGESTS,
    fingerprints=FINGERPRINTS,
    author=DIGESTS,
    name=st.text(max_size=32),
    round=ROUNDS,
    previous=DIGESTS,
    update=REFS,
    offer=OFFERS,
    packed=several(st.builds(PackedRef, base=DIGESTS, blob=REFS), MAX_PACKED, lambda form: form.base).map(
        lambda forms: forms or UNSET
    ),
    evidence=REFS,
    tokens=COUNTS,
    samples=COUNTS,
    steps=COUNTS,
    tokens_total=COUNTS,
    samples_total=COUNTS,
    capacity=st.integers(1, MAX_CAPACITY),
    importance=st.binary(max_size=20),
    shares=several(st.builds(ShareRef, to=DIGESTS, blob=REFS), MAX_SHARES, lambda share: share.to),
    contexts=several(
        st.builds(ContextRef, key=DIGESTS, blob=REFS), MAX_CONTEXTS, lambda context: context.key
    ),
    byte_rows=REFS | st.just(UNSET),
    holds=st.sets(DIGESTS, max_size=MAX_HOLDS).map(lambda keys: encode_holds(keys) or UNSET),
    capabilities=st.lists(st.text(min_size=1, max_size=32), max_size=12).map(tuple),
    sent_at_s=COUNTS,
)
LATEST = st.lists(st.builds(Latest, author=DIGESTS, round=ROUNDS), max_size=20).map(tuple)
GREETINGS = st.builds(Greeting, v=st.just(1), net=DIGESTS, fingerprints=FINGERPRINTS, latest=LATEST)
FRAMES = st.lists(st.binary(max_size=100), max_size=20).map(tuple)
REPLIES = st.builds(Reply, v=st.just(1), net=DIGESTS, fingerprints=FINGERPRINTS, frames=FRAMES)


@given(ANNOUNCEMENTS, st.binary(min_size=64, max_size=64))
def test_an_announcement_round_trips(announcement: Announcement, signature: bytes) -> None:
    signed: list[bytes] = []

    def sign(message: bytes) -> bytes:
        signed.append(message)
        return signature

    frame = decode_announcement(encode_announcement(announcement, sign))
    assert frame.announcement == announcement
    assert frame.signature == signature
    assert frame.payload == b""
    assert signed == [frame.signed] == [b"gossipllm/announce/3\0" + frame.header]


@given(GREETINGS)
def test_a_greeting_round_trips(greeting: Greeting) -> None:
    assert decode_greeting(encode_greeting(greeting)) == greeting


@given(REPLIES)
def test_a_reply_round_trips(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


@given(ANNOUNCEMENTS, GREETINGS, REPLIES)
def test_another_library_reads_the_same_and_writes_the_same(
    announcement: Announcement, greeting: Greeting, reply: Reply
) -> None:
    header = encoded_header(announcement)
    for message, data in (
        (announcement, header),
        (greeting, encode_greeting(greeting)),
        (reply, encode_reply(reply)),
    ):
        assert unpacked(data) == as_plain(message)
        assert packed(as_plain(message)) == data
    assert decode_announcement(framed(as_plain(announcement))).announcement == announcement


def test_fields_are_in_the_order_of_the_protocol_page() -> None:
    assert list(unpacked(encoded_header(make_announcement()))) == [
        *("v", "net", "fingerprints", "author", "name", "round", "previous", "update", "offer", "packed"),
        *("evidence", "tokens", "samples", "steps", "tokens_total", "samples_total", "capacity"),
        *("importance", "shares", "contexts", "byte_rows", "holds", "capabilities", "sent_at_s"),
    ]


@given(st.text(max_size=10), FINGERPRINTS, st.text(max_size=10), FINGERPRINTS)
def test_networks_differ_where_a_name_or_a_reference_set_does(
    name: str, prints: Fingerprints, other_name: str, others: Fingerprints
) -> None:
    mine, theirs = (name, prints.reference), (other_name, others.reference)

    assert (network_id(*mine) == network_id(*theirs)) == (mine == theirs)
    digest = fingerprint_of("gossipllm/3", [name.encode(), prints.reference])
    assert network_id(*mine) == b"\3\0\0\0" + digest[:28]


@given(st.text(max_size=10), FINGERPRINTS)
def test_the_version_of_a_network_id_is_read_from_its_name_and_fingerprints(
    name: str, prints: Fingerprints
) -> None:
    parts = [name.encode(), prints.base, prints.tokenizer, prints.reference, prints.layout]

    assert version_of(fingerprint_of("gossipllm/1", parts), name, prints) == 1
    assert version_of(fingerprint_of("gossipllm/2", parts), name, prints) == 2
    assert version_of(network_id(name, prints.reference), name, prints) == 3
    assert version_of(network_id(name + "x", bytes(32), version=4), name, prints) == 4
    assert version_of(network_id(name, prints.reference, version=255), name, prints) == 255
    assert version_of(fingerprint_of("gossipllm/2", parts), name + "x", prints) is None
