"""Messages and frames, valid and not, and what an independent MessagePack library makes of them."""

from __future__ import annotations

import struct
from typing import Any, Unpack, cast

import msgpack
import msgspec

from support.messages import AnnouncementFields
from wire.codec import decode_announcement, encode_announcement
from wire.messages import (
    Announcement,
    BlobRef,
    ContextRef,
    Fingerprints,
    Greeting,
    Latest,
    PackedRef,
    Reply,
    ShareRef,
)
from wire.updates.units import Offer

PREFIX = struct.Struct("<4sH")


def fingerprints() -> Fingerprints:
    return Fingerprints(base=b"b" * 32, tokenizer=b"t" * 32, reference=b"r" * 32, layout=b"l" * 32)


def make_announcement(**changes: Unpack[AnnouncementFields]) -> Announcement:
    announcement = Announcement(
        v=3,
        net=b"n" * 32,
        fingerprints=fingerprints(),
        author=b"a" * 32,
        name="ann",
        round=7,
        previous=b"p" * 32,
        update=BlobRef(digest=b"u" * 32, size=4_000_000),
        offer=Offer(8, b"\x05"),
        packed=(PackedRef(base=b"q" * 32, blob=BlobRef(digest=b"m" * 32, size=120_000)),),
        evidence=BlobRef(digest=b"e" * 32, size=15_640),
        tokens=1_000,
        samples=10,
        steps=20,
        tokens_total=7_000,
        samples_total=70,
        capacity=100,
        importance=bytes(12),
        shares=(ShareRef(to=b"s" * 32, blob=BlobRef(digest=b"h" * 32, size=808)),),
        contexts=(ContextRef(key=b"k" * 32, blob=BlobRef(digest=b"c" * 32, size=90_000)),),
        byte_rows=BlobRef(digest=b"y" * 32, size=23_956),
        holds=b"aaabbb",
        capabilities=("svd",),
        sent_at_s=1_700_000_000,
    )
    return msgspec.structs.replace(announcement, **changes)


def make_greeting(latest: int = 3) -> Greeting:
    held = tuple(Latest(author=bytes([index % 256]) * 32, round=index) for index in range(latest))
    return Greeting(v=1, net=b"n" * 32, fingerprints=fingerprints(), latest=held)


def make_reply(*frames: bytes) -> Reply:
    return Reply(v=1, net=b"n" * 32, fingerprints=fingerprints(), frames=frames)


def as_plain(message: msgspec.Struct) -> dict[str, Any]:
    """A message as MessagePack's own types, with no help from msgspec's encoder."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return {name: _plain(value) for name, value in fields.items() if value is not msgspec.UNSET}


def packed(value: object) -> bytes:
    # Without a buffer to write to, packing always gives bytes; the package is untyped.
    return cast("bytes", msgpack.packb(value))  # pyright: ignore[reportUnknownMemberType]


def unpacked(data: bytes) -> Any:
    # The package is untyped.
    return cast("Any", msgpack.unpackb(data, raw=False, strict_map_key=True))  # pyright: ignore[reportUnknownMemberType]


def unpacked_each(data: bytes) -> list[Any]:
    """The values that stand in the data one after the other; half a value at the end is left out."""
    unpacker = cast("Any", msgpack.Unpacker())  # pyright: ignore[reportUnknownMemberType]
    unpacker.feed(data)
    return list(unpacker)


def with_bytes(fields: dict[str, Any], name: str, value: bytes) -> bytes:
    """A message with one value given in bytes of our own."""
    head = cast("bytes", msgpack.Packer().pack_map_header(len(fields)))  # pyright: ignore[reportUnknownMemberType]
    return head + b"".join(
        packed(key) + (value if key == name else packed(one)) for key, one in fields.items()
    )


def framed(header: bytes | dict[str, Any], *, payload: bytes = b"") -> bytes:
    """A frame around any header or plain values, with bytes that are not a valid signature."""
    data = header if isinstance(header, bytes) else packed(header)
    return PREFIX.pack(b"GLA3", len(data)) + data + bytes(64) + payload


def encoded_header(announcement: Announcement) -> bytes:
    return decode_announcement(encode_announcement(announcement, lambda _: bytes(64))).header


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        fields = as_plain(value)
        return list(fields.values()) if value.__struct_config__.array_like else fields
    return [_plain(one) for one in cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value
