"""Bounds of messages: each field of what comes is checked and named, and what would be refused is not encoded."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from msgspec import UNSET

from support.wire_frames import (
    as_plain,
    encoded_header,
    framed,
    make_announcement,
    make_greeting,
    make_reply,
    packed,
    unpacked,
)
from wire.codec import (
    MAX_ANNOUNCEMENT_BYTES,
    decode_announcement,
    decode_greeting,
    decode_reply,
    encode_announcement,
    encode_greeting,
    encode_reply,
)
from wire.errors import WireError
from wire.holders import MAX_HOLDS, encode_holds
from wire.importance import MAX_LAYERS
from wire.messages import (
    MAX_BLOB_BYTES,
    MAX_CAPACITY,
    MAX_CONTEXTS,
    MAX_FRAMES,
    MAX_KNOWN,
    MAX_PACKED,
    MAX_ROUND,
    MAX_SHARES,
    Announcement,
    BlobRef,
    ContextRef,
    Greeting,
    PackedRef,
    Reply,
    ShareRef,
)
from wire.updates.units import MAX_RANK, MAX_UNITS, Offer


def announcement_of(fields: dict[str, Any]) -> Announcement:
    return decode_announcement(framed(fields)).announcement


def greeting_of(fields: dict[str, Any]) -> Greeting:
    return decode_greeting(packed(fields))


def reply_of(fields: dict[str, Any]) -> Reply:
    return decode_reply(packed(fields))


def test_packed_forms_have_no_key_where_there_are_none() -> None:
    header = encoded_header(make_announcement(packed=UNSET))
    assert "packed" not in unpacked(header)
    nothings: tuple[object, ...] = ([], None)
    for none in nothings:
        with pytest.raises(WireError, match=r"announcement\.packed"):
            announcement_of({**as_plain(make_announcement()), "packed": none})


def test_byte_rows_have_no_key_where_there_are_none() -> None:
    without = make_announcement(byte_rows=UNSET)
    header = encoded_header(without)

    assert "byte_rows" not in unpacked(header)
    assert announcement_of(unpacked(header)) == without
    with pytest.raises(WireError, match=r"announcement\.byte_rows"):
        announcement_of({**as_plain(make_announcement()), "byte_rows": None})


REF = {"digest": b"d" * 32, "size": 1}
OUT_OF_BOUNDS: list[tuple[dict[str, Any], str]] = [
    ({"v": 1}, "v"),
    ({"v": 2}, "v"),
    ({"v": True}, "v"),
    ({"net": b"n" * 31}, "net"),
    ({"net": b"n" * 33}, "net"),
    ({"net": "n" * 32}, "net"),
    ({"net": None}, "net"),
    ({"fingerprints": []}, "fingerprints"),
    ({"author": b"a" * 31}, "author"),
    ({"author": b"a" * 33}, "author"),
    ({"name": "x" * 33}, "name"),
    ({"name": b"x"}, "name"),
    ({"round": -1}, "round"),
    ({"round": MAX_ROUND + 1}, "round"),
    ({"round": 2**64 - 1}, "round"),
    ({"round": -(2**63)}, "round"),
    ({"round": True}, "round"),
    ({"round": 7.0}, "round"),
    ({"round": float("nan")}, "round"),
    ({"round": "7"}, "round"),
    ({"round": msgpack.ExtType(1, b"")}, "round"),
    ({"round": msgpack.Timestamp(7)}, "round"),
    ({"previous": b""}, "previous"),
    ({"update": {**REF, "size": 0}}, "update.size"),
    ({"update": {**REF, "size": MAX_BLOB_BYTES + 1}}, "update.size"),
    ({"update": {**REF, "digest": b"d" * 33}}, "update.digest"),
    ({"update": {"digest": b"d" * 32}}, "update.size"),
    ({"update": {**REF, "codec": "gzip"}}, ""),
    ({"update": [b"d" * 32, 1]}, "update"),
    ({"offer": [8]}, ""),
    ({"offer": [8, b"", b""]}, "offer"),
    ({"offer": {"rank": 8, "units": b""}}, "offer"),
    ({"offer": [-1, b""]}, "offer[0]"),
    ({"offer": [MAX_RANK + 1, b""]}, "offer[0]"),
    ({"offer": [True, b""]}, "offer[0]"),
    ({"offer": [8, ""]}, "offer[1]"),
    ({"offer": [8, bytes(MAX_UNITS // 8 + 1)]}, "offer[1]"),
    ({"evidence": {**REF, "size": 0}}, "evidence.size"),
    ({"evidence": {**REF, "size": MAX_BLOB_BYTES + 1}}, "evidence.size"),
    ({"tokens": -1}, "tokens"),
    ({"tokens": 2**53 + 1}, "tokens"),
    ({"samples": 2**53 + 1}, "samples"),
    ({"steps": 2**53 + 1}, "steps"),
    ({"tokens_total": -1}, "tokens_total"),
    ({"tokens_total": 2**53 + 1}, "tokens_total"),
    ({"samples_total": 2**53 + 1}, "samples_total"),
    ({"capacity": 0}, "capacity"),
    ({"capacity": MAX_CAPACITY + 1}, "capacity"),
    ({"capacity": 1.0}, "capacity"),
    ({"importance": bytes(4 * MAX_LAYERS + 1)}, "importance"),
    ({"importance": [1.0]}, "importance"),
    ({"shares": [[b"s" * 32, REF]] * (MAX_SHARES + 1)}, "shares"),
    ({"shares": [[b"s" * 31, REF]]}, "shares[0][0]"),
    ({"shares": [[b"s" * 32, {**REF, "size": 0}]]}, "shares[0][1].size"),
    ({"shares": [[b"s" * 32]]}, "shares[0]"),
    ({"shares": [[b"s" * 32, REF, 1]]}, "shares[0]"),
    ({"shares": [{"to": b"s" * 32, "blob": REF}]}, "shares[0]"),
    ({"contexts": [[b"k" * 32, REF]] * (MAX_CONTEXTS + 1)}, "contexts"),
    ({"contexts": [[b"k" * 33, REF]]}, "contexts[0][0]"),
    ({"contexts": [[b"k" * 32, b"d" * 32]]}, "contexts[0][1]"),
    ({"capabilities": ["c"] * 13}, "capabilities"),
    ({"capabilities": [""]}, "capabilities[0]"),
    ({"capabilities": ["c", "c" * 33]}, "capabilities[1]"),
    ({"capabilities": [1]}, "capabilities[0]"),
    ({"capabilities": "c"}, "capabilities"),
    ({"sent_at_s": -1}, "sent_at_s"),
    ({"sent_at_s": 2**53 + 1}, "sent_at_s"),
    ({"sent_at_s": 1.5}, "sent_at_s"),
]


@pytest.mark.parametrize(("change", "field"), OUT_OF_BOUNDS)
def test_each_bound_of_an_announcement_is_checked_and_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_announcement(framed({**as_plain(make_announcement()), **change}))
    assert caught.value.field == f"announcement.{field}".rstrip(".")


@pytest.mark.parametrize("name", ["base", "tokenizer", "reference", "layout"])
def test_each_fingerprint_is_checked_and_named(name: str) -> None:
    for wrong in (b"f" * 31, b"f" * 33, "f" * 32, 5):
        for message, decode, what in (
            (make_announcement(), announcement_of, "announcement"),
            (make_greeting(), greeting_of, "greeting"),
        ):
            fields = as_plain(message)
            fields["fingerprints"][name] = wrong
            with pytest.raises(WireError) as caught:
                decode(fields)
            assert caught.value.field == f"{what}.fingerprints.{name}"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"v": 2}, "v"),
        ({"net": b""}, "net"),
        ({"latest": [[b"a" * 32, 1]] * (MAX_KNOWN + 1)}, "latest"),
        ({"latest": [[b"a" * 32]]}, "latest[0]"),
        ({"latest": [[b"a" * 32, 1, 1]]}, "latest[0]"),
        ({"latest": [{"author": b"a" * 32, "round": 1}]}, "latest[0]"),
        ({"latest": [[b"a" * 32, 1], [b"a" * 31, 1]]}, "latest[1][0]"),
        ({"latest": [[b"a" * 32, -1]]}, "latest[0][1]"),
        ({"latest": [[b"a" * 32, MAX_ROUND + 1]]}, "latest[0][1]"),
        ({"latest": [[b"a" * 32, False]]}, "latest[0][1]"),
        ({"more": 1}, ""),
    ],
)
def test_each_bound_of_a_greeting_is_checked_and_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_greeting(packed({**as_plain(make_greeting()), **change}))
    assert caught.value.field == f"greeting.{field}".rstrip(".")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"v": 0}, "v"),
        ({"net": b""}, "net"),
        ({"frames": [b""] * (MAX_FRAMES + 1)}, "frames"),
        ({"frames": [b"", bytes(6_145)]}, "frames[1]"),
        ({"frames": ["text"]}, "frames[0]"),
        ({"frames": {}}, "frames"),
        ({"more": 1}, ""),
    ],
)
def test_each_bound_of_a_reply_is_checked_and_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_reply(packed({**as_plain(make_reply()), **change}))
    assert caught.value.field == f"reply.{field}".rstrip(".")


def test_a_missing_field_is_named() -> None:
    for what, message, decode in (
        ("announcement", make_announcement(), announcement_of),
        ("greeting", make_greeting(), greeting_of),
        ("reply", make_reply(), reply_of),
    ):
        whole = as_plain(message)
        for missing in set(whole) - {"packed", "byte_rows", "holds"}:
            with pytest.raises(WireError) as caught:
                decode({name: value for name, value in whole.items() if name != missing})
            # The version has a default where messages are made, so its absence shows in the bytes only.
            expected = (what, "not in canonical form") if missing == "v" else (f"{what}.{missing}", "missing")
            assert (caught.value.field, caught.value.why) == expected


def test_an_unknown_field_is_reported_but_cannot_imitate_a_known_field() -> None:
    for name, why in (
        ("enc", "unknown field `enc`"),
        ("a\n\x1b[31m\u202e", r"unknown field `a\n\x1b[31m\u202e`"),
        ("x" * 3_000, "unknown field `" + "x" * 119),
        ("a` - at `$.round", "unknown field `a` - at `$.round`"),
    ):
        with pytest.raises(WireError) as caught:
            decode_announcement(framed({**as_plain(make_announcement()), name: 1}))
        assert (caught.value.field, caught.value.why) == ("announcement", why)


def test_the_largest_greeting_and_the_largest_reply_fit_their_limits() -> None:
    full = as_plain(make_greeting(0))
    full["latest"] = [[bytes([index % 256]) * 32, MAX_ROUND] for index in range(MAX_KNOWN)]
    assert len(decode_greeting(packed(full)).latest) == MAX_KNOWN
    frames = [bytes(MAX_ANNOUNCEMENT_BYTES)] * MAX_FRAMES
    assert len(decode_reply(encode_reply(make_reply(*frames))).frames) == MAX_FRAMES


def test_the_largest_announcement_fits_its_limit() -> None:
    ref = BlobRef(digest=bytes(32), size=MAX_BLOB_BYTES)
    widest = make_announcement(
        name="\U0001f600" * 32,
        round=MAX_ROUND,
        update=ref,
        evidence=ref,
        offer=Offer(MAX_RANK, b"\x55" * (MAX_UNITS // 8)),
        capacity=MAX_CAPACITY,
        importance=bytes(4 * MAX_LAYERS),
        shares=tuple(ShareRef(to=bytes([index]) * 32, blob=ref) for index in range(MAX_SHARES)),
        contexts=tuple(ContextRef(key=bytes([index]) * 32, blob=ref) for index in range(MAX_CONTEXTS)),
        byte_rows=ref,
        holds=encode_holds(bytes([index]) * 32 for index in range(MAX_HOLDS)),
        capabilities=("\U0001f600" * 32,) * 12,
        packed=tuple(PackedRef(base=bytes([index]) * 32, blob=ref) for index in range(MAX_PACKED)),
        tokens=2**53,
        samples=2**53,
        steps=2**53,
        tokens_total=2**53,
        samples_total=2**53,
        sent_at_s=2**53,
    )
    frame = encode_announcement(widest, lambda _: bytes(64))
    assert len(frame) == 5_829 <= MAX_ANNOUNCEMENT_BYTES
    assert decode_announcement(frame).announcement == widest


def test_what_receivers_would_refuse_is_not_encoded() -> None:
    for announcement, field in (
        (make_announcement(round=-1), "announcement.round"),
        (make_announcement(name="x" * 33), "announcement.name"),
        (make_announcement(net=b"short"), "announcement.net"),
        (make_announcement(tokens=True), "announcement.tokens"),
        (make_announcement(offer=Offer(257)), r"announcement\.offer\[0\]"),
        (make_announcement(capacity=0), "announcement.capacity"),
    ):
        with pytest.raises(ValueError, match=field):
            encode_announcement(announcement, lambda _: bytes(64))
    with pytest.raises(ValueError, match=r"greeting\.latest: Expected `array` of length <= 1000"):
        encode_greeting(make_greeting(1_001))
    with pytest.raises(ValueError, match=r"reply\.frames\[0\]: 6145 > 6144 bytes"):
        encode_reply(make_reply(bytes(6_145)))
