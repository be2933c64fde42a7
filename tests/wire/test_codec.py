"""The frame around an announcement, and the single encoding of every message."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from support.wire_frames import (
    as_plain,
    framed,
    make_announcement,
    make_greeting,
    packed,
    unpacked,
    with_bytes,
)
from wire.codec import (
    MAX_ANNOUNCEMENT_BYTES,
    MAX_FRAME_BYTES,
    MAX_GREETING_BYTES,
    MAX_INLINE_BYTES,
    MAX_REPLY_BYTES,
    decode_announcement,
    decode_greeting,
    decode_reply,
    encode_announcement,
    encode_greeting,
    without_payload,
)
from wire.digest import digest_of
from wire.errors import WireError
from wire.holders import encode_holds
from wire.messages import BlobRef, PackedRef
from wire.updates.units import Offer


def unsigned(_: bytes) -> bytes:
    return bytes(64)


def refused(frame: bytes) -> tuple[str, str]:
    with pytest.raises(WireError) as caught:
        decode_announcement(frame)
    return caught.value.field, caught.value.why


def ref_of(payload: bytes) -> BlobRef:
    return BlobRef(digest=digest_of(payload), size=len(payload))


@given(st.binary(min_size=1, max_size=200))
def test_evidence_is_carried_in_the_frame_and_removed_from_it(payload: bytes) -> None:
    announcement = make_announcement(evidence=ref_of(payload))
    whole = encode_announcement(announcement, unsigned, payload=payload)
    bare = encode_announcement(announcement, unsigned)
    frame = decode_announcement(whole)
    assert frame.payload == payload
    assert whole == bare + payload
    assert without_payload(whole) == without_payload(bare) == bare
    # The signature and the digest are of the header, so carrying the evidence changes neither.
    assert decode_announcement(bare).digest == frame.digest == digest_of(frame.header)
    assert decode_announcement(bare).signed == frame.signed


def test_the_largest_payload_passes_and_one_byte_more_does_not() -> None:
    most = bytes(MAX_INLINE_BYTES)
    frame = encode_announcement(make_announcement(evidence=ref_of(most)), unsigned, payload=most)
    assert decode_announcement(frame).payload == most
    more = bytes(MAX_INLINE_BYTES + 1)
    announcement = make_announcement(evidence=ref_of(more))
    with pytest.raises(ValueError, match=r"frame\.payload: 32769 > 32768 bytes"):
        encode_announcement(announcement, unsigned, payload=more)
    assert refused(encode_announcement(announcement, unsigned) + more) == (
        "frame.payload",
        "32769 > 32768 bytes",
    )


def test_a_payload_that_is_not_the_announced_evidence_is_refused() -> None:
    bare = encode_announcement(make_announcement(evidence=ref_of(b"abc")), unsigned)
    assert refused(bare + b"abd") == ("frame.payload", "digest is not the announced one")
    assert refused(bare + b"ab") == ("frame.payload", "2 bytes, announced 3")
    assert refused(bare + b"abcd") == ("frame.payload", "4 bytes, announced 3")


def test_frames_that_are_cut_or_begin_otherwise_are_refused() -> None:
    frame = encode_announcement(make_announcement(), unsigned)
    for length in range(len(frame)):
        field, _ = refused(frame[:length])
        assert field == ("frame.length" if length < 6 else "frame.header_length")
    assert refused(b"GLA2" + frame[4:]) == ("frame.magic", "expected b'GLA3', got b'GLA2'")
    assert refused(frame + bytes(MAX_FRAME_BYTES)) == (
        "frame.length",
        f"{len(frame) + MAX_FRAME_BYTES} > {MAX_FRAME_BYTES}",
    )


def test_the_headers_length_is_held_against_the_frame_and_the_limit() -> None:
    most = MAX_ANNOUNCEMENT_BYTES - 70
    assert refused(framed(bytes(most)))[0] == "announcement"
    assert refused(framed(bytes(most + 1))) == ("frame.header_length", "6075 does not fit 6144 bytes")
    short = struct.pack("<4sH", b"GLA3", 65_535) + bytes(100)
    assert refused(short) == ("frame.header_length", "65535 does not fit 106 bytes")
    assert refused(framed(b"")) == ("announcement", "not MessagePack: Input data was truncated")


def test_an_announcement_above_the_limit_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="limit 6144"):
        encode_announcement(make_announcement(name="x" * 6_000), unsigned)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("round", b"\xcc\x07"),
        ("round", b"\xcd\0\x07"),
        ("round", b"\xce\0\0\0\x07"),
        ("round", b"\xcf" + bytes(7) + b"\x07"),
        ("round", b"\xd0\x07"),
        ("round", b"\xd3" + bytes(7) + b"\x07"),
        ("name", b"\xd9\x03ann"),
        ("name", b"\xda\0\x03ann"),
        ("name", b"\xdb\0\0\0\x03ann"),
        ("net", b"\xc5\0\x20" + b"n" * 32),
        ("net", b"\xc6\0\0\0\x20" + b"n" * 32),
        ("capabilities", b"\xdc\0\x01\xa3svd"),
        ("capabilities", b"\xdd\0\0\0\x01\xa3svd"),
        ("offer", b"\x92\xcc\x08\xc4\x01\x05"),
        ("offer", b"\x92\x08\xc5\0\x01\x05"),
        ("offer", b"\xdc\0\x02\x08\xc4\x01\x05"),
        ("importance", b"\xc5\0\x0c" + bytes(12)),
    ],
)
def test_another_encoding_of_the_same_value_is_refused(name: str, spelling: bytes) -> None:
    header = with_bytes(as_plain(make_announcement()), name, spelling)
    assert unpacked(header) == as_plain(make_announcement())
    assert refused(framed(header)) == ("announcement", "not in canonical form")


def test_another_order_another_head_and_a_repeated_field_are_refused() -> None:
    fields = as_plain(make_announcement())
    whole = packed(fields)
    assert whole[:3] == b"\xde\0\x18"
    swapped = dict(reversed(fields.items()))
    long_head = b"\xdf\0\0\0\x18" + whole[3:]
    for header in (packed(swapped), long_head):
        assert unpacked(header) == fields
        assert refused(framed(header)) == ("announcement", "not in canonical form")
    for extra in (packed("round") + b"\x07", packed("round") + b"\x09"):
        for repeated in (b"\xde\0\x19" + extra + whole[3:], b"\xde\0\x19" + whole[3:] + extra):
            assert refused(framed(repeated)) == ("announcement", "not in canonical form")


def test_bytes_behind_the_header_are_refused() -> None:
    for more in (b"\xc0", b"\0", bytes(100)):
        field, why = refused(framed(packed(as_plain(make_announcement())) + more))
        assert field == "announcement"
        assert "trailing characters" in why
        with pytest.raises(WireError, match="trailing characters"):
            decode_greeting(encode_greeting(make_greeting()) + more)


def test_lengths_are_the_first_thing_that_is_checked() -> None:
    for decode, limit, field in (
        (decode_announcement, MAX_FRAME_BYTES, "frame.length"),
        (decode_greeting, MAX_GREETING_BYTES, "greeting.length"),
        (decode_reply, MAX_REPLY_BYTES, "reply.length"),
    ):
        with pytest.raises(WireError) as caught:
            decode(bytes(limit + 1))
        assert (caught.value.field, caught.value.why) == (field, f"{limit + 1} > {limit}")
        with pytest.raises(WireError) as caught:
            decode(b"")
        assert caught.value.field in {"frame.length", "greeting", "reply"}


def test_an_offer_without_its_bitmap_is_another_encoding() -> None:
    everything = {**as_plain(make_announcement()), "offer": [8, b""]}
    assert decode_announcement(framed(everything)).announcement.offer == Offer(8)
    assert refused(framed({**everything, "offer": [8]})) == ("announcement", "not in canonical form")


def test_a_repeated_receiver_or_context_is_refused() -> None:
    fields = as_plain(make_announcement())
    for name in ("shares", "contexts"):
        key, blob = fields[name][0]
        twice = {**fields, name: [[key, blob], [b"x" * 32, blob], [key, {**blob, "size": 1}]]}
        assert refused(framed(twice)) == (f"announcement.{name}", "two of them have one key")
        twice[name][0][0] = b"y" * 32
        assert len(getattr(decode_announcement(framed(twice)).announcement, name)) == 3
    share = make_announcement().shares[0]
    with pytest.raises(ValueError, match=r"announcement\.shares: two of them have one key"):
        encode_announcement(make_announcement(shares=(share, share)), unsigned)


def test_text_that_is_not_utf_8_is_refused() -> None:
    for name in (b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\xa2\xc0\x80"):  # none, a surrogate, overlong
        field, why = refused(framed(with_bytes(as_plain(make_announcement()), "name", name)))
        assert field == "announcement"
        assert "utf-8" in why


def test_an_announcement_that_commits_to_its_predictions_takes_less_than_a_kilobyte() -> None:
    # Of a model of 22 blocks with 154 modules, some of them offered, in a network of one tokenizer.
    packed_forms = tuple(
        PackedRef(base=base * 32, blob=BlobRef(digest=b"m" * 32, size=4_000_000)) for base in (b"\0", b"q")
    )
    announcement = make_announcement(
        name="a" * 24,
        round=10**6,
        offer=Offer(64, b"\x55" * 20),
        packed=packed_forms,
        importance=bytes(4 * 22),
        shares=(),
        contexts=(),
        byte_rows=UNSET,
        holds=encode_holds(bytes([author]) * 32 for author in range(12)),
        capabilities=(),
        tokens_total=10**12,
        samples_total=10**9,
    )
    assert len(encode_announcement(announcement, unsigned)) < 1_024
