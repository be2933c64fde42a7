"""Hostile bytes: every decoder returns a value or raises `WireError`, within its bound of memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from support.wire_frames import (
    as_plain,
    framed,
    make_announcement,
    make_greeting,
    make_reply,
    packed,
    with_bytes,
)
from wire.codec import (
    MAX_ANNOUNCEMENT_BYTES,
    MAX_GREETING_BYTES,
    MAX_REPLY_BYTES,
    decode_announcement,
    decode_greeting,
    decode_reply,
    encode_announcement,
    encode_greeting,
    encode_reply,
)
from wire.digest import digest_of
from wire.errors import WireError
from wire.importance import decode_importance, encode_importance
from wire.messages import MAX_FRAMES, BlobRef, Message
from wire.predictions.logits import RowsShape, SparseRows, decode_rows, encode_rows
from wire.pull import (
    PullRequest,
    PullResponse,
    PullStatus,
    decode_pull_request,
    decode_pull_response,
    encode_pull_request,
    encode_pull_response,
)
from wire.updates.tensors import Layout, TensorSpec, check_update, decode_update, encode_update
from wire.updates.units import Schema, Unit, check_offered, decode_offered, encode_offered

MUTATIONS = 5_000
"""Of each decoder."""

LAYOUT_BF16 = Layout((TensorSpec("a", (3, 4)), TensorSpec("b", (5,))))
LAYOUT_F32 = Layout(LAYOUT_BF16.tensors, "f32")
SCHEMA = Schema(
    tuple(Unit(f"u{at}", at, ((f"u{at}.a", (0, 3)), (f"u{at}.b", (2, 0)))) for at in range(11)), "bf16"
)
ROWS_U16 = RowsShape(4, 3, 1_000)
ROWS_U32 = RowsShape(4, 3, 100_000)


@dataclass(frozen=True)
class Subject:
    """A decoder, a few inputs that it accepts, and the encoder that must reproduce every accepted input."""

    valid: list[bytes]
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes] | None


def rows(shape: RowsShape) -> bytes:
    ids = np.tile(np.array([1, 5, shape.vocabulary - 1], np.uint32), (shape.rows, 1))
    quarter = np.log(np.full(ids.shape, 0.25, np.float32))
    return encode_rows(SparseRows(ids, quarter, np.full(shape.rows, 0.25, np.float32)), shape)


def update(layout: Layout) -> bytes:
    return encode_update({one.name: np.full(one.shape, 0.5, np.float32) for one in layout.tensors}, layout)


def offered(*units: int) -> bytes:
    offer = SCHEMA.offer(units, 2)
    layout = SCHEMA.layout(offer)
    tensors = {one.name: np.full(one.shape, 0.5, np.float32) for one in layout.tensors}
    return encode_offered(tensors, SCHEMA, offer)


@pytest.fixture(scope="module")
def subjects() -> dict[str, Subject]:
    payload = rows(ROWS_U16)
    carrying = make_announcement(evidence=BlobRef(digest=digest_of(payload), size=len(payload)))
    bare = encode_announcement(make_announcement(), lambda _: bytes(64))
    whole = encode_announcement(carrying, lambda _: bytes(64), payload=payload)
    request = PullRequest(b"d" * 32, 5)

    def again(frame: Any) -> bytes:
        return encode_announcement(frame.announcement, lambda _: frame.signature, payload=frame.payload)

    return {
        "announcement": Subject([bare, whole], decode_announcement, again),
        "greeting": Subject([encode_greeting(make_greeting(20))], decode_greeting, encode_greeting),
        "reply": Subject([encode_reply(make_reply(bare, b"", bare))], decode_reply, encode_reply),
        "update bf16": Subject(
            [update(LAYOUT_BF16)],
            lambda data: decode_update(data, LAYOUT_BF16),
            lambda value: encode_update(value, LAYOUT_BF16),
        ),
        "update f32": Subject(
            [update(LAYOUT_F32)],
            lambda data: decode_update(data, LAYOUT_F32),
            lambda value: encode_update(value, LAYOUT_F32),
        ),
        "update check": Subject([update(LAYOUT_BF16)], lambda data: check_update(data, LAYOUT_BF16), None),
        "offered": Subject(
            [offered(3), offered(0, 4, 10), offered(*range(11))],
            lambda data: decode_offered(data, SCHEMA),
            lambda value: encode_offered(value[1], SCHEMA, value[0]),
        ),
        "offered check": Subject([offered(3, 7)], lambda data: check_offered(data, SCHEMA), None),
        "importance": Subject(
            [encode_importance((0.5, None, 1e-9))], lambda data: decode_importance(data, 3), None
        ),
        "rows u16": Subject(
            [rows(ROWS_U16)],
            lambda data: decode_rows(data, ROWS_U16),
            lambda value: encode_rows(value, ROWS_U16),
        ),
        "rows u32": Subject(
            [rows(ROWS_U32)],
            lambda data: decode_rows(data, ROWS_U32),
            lambda value: encode_rows(value, ROWS_U32),
        ),
        "pull request": Subject([encode_pull_request(request)], decode_pull_request, encode_pull_request),
        "pull response": Subject(
            [encode_pull_response(PullResponse(PullStatus.FOUND, 9))],
            decode_pull_response,
            encode_pull_response,
        ),
    }


# Heads of MessagePack that declare much, and numbers at the edges of their types.
TOKENS = [
    *(bytes([head]) + b"\xff\xff\xff\xff" for head in (0xC6, 0xC9, 0xDB, 0xDD, 0xDF)),
    *(bytes([head]) + b"\xff\xff" for head in (0xC5, 0xC8, 0xDA, 0xDC, 0xDE)),
    *(bytes([head]) for head in (0xC0, 0xC1, 0xC2, 0xC3, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xFF)),
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + bytes(7),
    b"\xcb\x7f\xf8" + bytes(6),
    b"\xd6\xff" + bytes(4),
    b"\xa5round\x08",
    b"\x7f\xc0\x7f\x80",
]


def mutated(rng: random.Random, valid: list[bytes], others: list[bytes]) -> bytes:
    data = bytearray(rng.choice(valid))
    match rng.randrange(8):
        case 0:
            for _ in range(rng.choice((1, 1, 2, 8))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            del data[rng.randrange(len(data)) :]
        case 2:
            at = rng.randrange(len(data) + 1)
            data[at:at] = rng.choice((rng.randbytes(rng.randint(1, 40)), rng.choice(TOKENS)))
        case 3:
            other = rng.choice(others)
            data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]
        case 4:
            token = rng.choice(TOKENS)
            at = rng.randrange(len(data))
            data[at : at + len(token)] = token
        case 5:
            # A length or a size: the two bytes behind the magic as often as any other place.
            at = rng.choice((4, rng.randrange(max(1, len(data) - 2))))
            data[at : at + 2] = rng.choice((b"\0\0", b"\xff\xff", rng.randbytes(2)))
        case 6:
            at, width = rng.randrange(len(data)), rng.randint(1, 32)
            data[at:at] = data[at : at + width] * rng.randint(1, 3)
        case _:
            data = bytearray(rng.randbytes(rng.choice((len(data), rng.randint(0, 300)))))
    return bytes(data)


def test_five_thousand_mutations_of_each_input_raise_only_wire_errors(subjects: dict[str, Subject]) -> None:
    rng = random.Random(20_240)
    everything = [data for subject in subjects.values() for data in subject.valid]
    tried = dict.fromkeys(subjects, 0)
    accepted = dict.fromkeys(subjects, 0)
    refusals: list[WireError] = []
    for name, subject in subjects.items():
        for _ in range(MUTATIONS):
            data = mutated(rng, subject.valid, everything)
            tried[name] += 1
            try:
                value = subject.decode(data)
            except WireError as error:
                refusals.append(error)
                continue
            accepted[name] += 1
            # Every accepted input is the only encoding of its value.
            assert subject.encode is None or subject.encode(value) == data, data.hex()
    assert set(tried.values()) == {MUTATIONS}
    assert sum(accepted.values()) + len(refusals) == MUTATIONS * len(subjects)
    assert all(error.field and str(error).isprintable() for error in refusals)
    assert max(len(str(error)) for error in refusals) < 300
    # Flipped bits of numbers and signatures stay valid, so the campaign reaches behind the first check.
    assert all(0 < count < MUTATIONS for count in accepted.values()), accepted


def peak_of(decode: Callable[[bytes], Any], data: bytes) -> tuple[int, WireError | None]:
    """Bytes that decoding allocated at most, and how it ended."""
    refusal = None
    tracemalloc.start()
    try:
        decode(data)
    except WireError as error:
        refusal = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, refusal


def filled(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


def distinct_keys(size: int) -> bytes:
    keys = b"".join(packed(f"{index:05}") + b"\xc0" for index in range(size // 7))
    return b"\xdf" + (size // 7).to_bytes(4, "big") + keys


def tree(size: int) -> bytes:
    """Arrays of 64, each within a limit on its own."""
    leaf = b"\xdc\0\x40" + b"\x90" * 64
    branch = b"\xdc\0\x40" + leaf * 64
    return filled(branch, size) or filled(leaf, size)


BOMBS: dict[str, Callable[[int], bytes]] = {
    "array32 of 2^32-1": lambda _: b"\xdd\xff\xff\xff\xff",
    "map32 of 2^32-1": lambda _: b"\xdf\xff\xff\xff\xff",
    "bin32 of 2^32-1": lambda _: b"\xc6\xff\xff\xff\xff",
    "str32 of 2^32-1": lambda _: b"\xdb\xff\xff\xff\xff",
    "ext32 of 2^32-1": lambda _: b"\xc9\xff\xff\xff\xff\1",
    "depth 1,024": lambda size: b"\x91" * min(1_024, size - 1) + b"\xc0",
    "as deep as it gets": lambda size: b"\x91" * size,
    "as deep as it gets, maps": lambda size: filled(b"\x81\xa0", size),
    "nested array32": lambda size: filled(b"\xdd\xff\xff\xff\xff", size),
    "nested array32 of the rest": lambda size: filled(b"\xdd\0\0\x03\xe8", size),
    "empty maps": lambda size: b"\xdc\xff\xff" + b"\x80" * (size - 3),
    "empty arrays": lambda size: b"\xdc\xff\xff" + b"\x90" * (size - 3),
    "ext of one byte": lambda size: b"\xdc\xff\xff" + filled(b"\xd4\x01\x00", size - 3),
    "distinct keys": distinct_keys,
    "tree of arrays of 64": tree,
    "keys that are numbers": lambda _: b"\x81\x01\x01",
    "keys that are bytes": lambda _: b"\x81\xc4\x01a\x01",
    "keys that are maps": lambda size: b"\x81" * size,
    "not a number": lambda _: b"\xcb\x7f\xf8" + bytes(6),
    "zeros": bytes,
    "ones": lambda size: b"\xff" * size,
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("place", ["instead of all", "in a list", "in a number", "in an unknown field"])
def test_decoding_bombs_takes_less_than_ten_times_their_size_and_names_the_field(
    bomb: str, place: str
) -> None:
    cases: tuple[tuple[str, Message, str, str, Callable[[bytes], object], int], ...] = (
        ("announcement", make_announcement(), "capabilities", "round",
         lambda data: decode_announcement(framed(data)), MAX_ANNOUNCEMENT_BYTES - 70),
        ("announcement", make_announcement(), "shares", "offer",
         lambda data: decode_announcement(framed(data)), MAX_ANNOUNCEMENT_BYTES - 70),
        ("greeting", make_greeting(), "latest", "v", decode_greeting, MAX_GREETING_BYTES),
        ("reply", make_reply(), "frames", "v", decode_reply, MAX_REPLY_BYTES),
    )  # fmt: skip
    for what, message, many, one, decode, limit in cases:
        fields = as_plain(message)
        fields.pop("bomb", None)
        room = limit - len(packed(fields)) - 20
        name = {"in a list": many, "in a number": one, "in an unknown field": "bomb"}.get(place)
        charge = BOMBS[bomb](room)
        if name is None:
            data = charge
        else:
            fields[name] = None
            data = with_bytes(fields, name, charge)
        assert len(data) <= limit
        peak, refusal = peak_of(decode, data)
        assert refusal is not None
        assert refusal.field.startswith(what)
        # The constant is for exceptions, their tracebacks' frames and compiled patterns.
        assert peak < 10 * len(data) + 16_384, (what, peak, len(data))


@pytest.mark.parametrize("size", [1_000_000, 5_000_000])
def test_an_input_above_the_limit_is_refused_unread(size: int) -> None:
    data = b"\xdc\xff\xff" + b"\x80" * size
    offering = b"\1\0\0\0" + data
    decoders: tuple[tuple[Callable[[bytes], object], str], ...] = (
        (decode_announcement, "frame.length"),
        (decode_greeting, "greeting.length"),
        (decode_reply, "reply.length"),
        (lambda blob: decode_update(blob, LAYOUT_BF16), "update.length"),
        (lambda _: decode_offered(offering, SCHEMA), "update.length"),
        (lambda blob: decode_importance(blob, 3), "announcement.importance"),
        (lambda blob: decode_rows(blob, ROWS_U16), "evidence.length"),
    )
    for decode, field in decoders:
        peak, refusal = peak_of(decode, data)
        assert refusal is not None
        assert refusal.field == field
        assert peak < 16_384


def test_decoding_the_largest_messages_takes_less_than_ten_times_their_size() -> None:
    for decode, data in (
        (decode_greeting, encode_greeting(make_greeting(1_000))),
        (decode_reply, encode_reply(make_reply(*[bytes(MAX_ANNOUNCEMENT_BYTES)] * MAX_FRAMES))),
    ):
        peak, refusal = peak_of(decode, data)
        assert refusal is None
        assert peak < 10 * len(data)
