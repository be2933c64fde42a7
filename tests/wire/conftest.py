"""Builders of messages and frames, valid and not."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import pytest

from wire.messages import (
    Announcement,
    BlobRef,
    ContextRef,
    Fingerprints,
    Greeting,
    Latest,
    Reply,
    ShareRef,
)
from wire.units import Offer

PREFIX = struct.Struct("<4sH")


def fingerprints() -> Fingerprints:
    return Fingerprints(base=b"b" * 32, tokenizer=b"t" * 32, reference=b"r" * 32, layout=b"l" * 32)


def announcement(**changes: Any) -> Announcement:
    fields: dict[str, Any] = {
        "v": 2,
        "net": b"n" * 32,
        "fingerprints": fingerprints(),
        "author": b"a" * 32,
        "name": "ann",
        "round": 7,
        "previous": b"p" * 32,
        "update": BlobRef(digest=b"u" * 32, size=4_000_000),
        "offer": Offer(8, b"\x05"),
        "evidence": BlobRef(digest=b"e" * 32, size=15_640),
        "tokens": 1_000,
        "samples": 10,
        "steps": 20,
        "tokens_total": 7_000,
        "samples_total": 70,
        "capacity": 100,
        "importance": bytes(12),
        "shares": (ShareRef(to=b"s" * 32, blob=BlobRef(digest=b"h" * 32, size=808)),),
        "contexts": (ContextRef(key=b"k" * 32, blob=BlobRef(digest=b"c" * 32, size=90_000)),),
        "capabilities": ("svd",),
        "sent_at_s": 1_700_000_000,
    }
    return Announcement(**{**fields, **changes})


def greeting(latest: int = 3) -> Greeting:
    held = tuple(Latest(author=bytes([index % 256]) * 32, round=index) for index in range(latest))
    return Greeting(v=1, net=b"n" * 32, fingerprints=fingerprints(), latest=held)


def reply(*frames: bytes) -> Reply:
    return Reply(v=1, net=b"n" * 32, fingerprints=fingerprints(), frames=frames)


def plain(value: Any) -> Any:
    """A message as MessagePack's own types, with no help from msgspec's encoder."""
    if isinstance(value, msgspec.Struct):
        fields = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        return list(fields.values()) if value.__struct_config__.array_like else fields
    return [plain(one) for one in value] if isinstance(value, tuple) else value


def frame_of(header: bytes, *, payload: bytes = b"") -> bytes:
    """A frame around any header, with bytes that are not a valid signature."""
    return PREFIX.pack(b"GLA2", len(header)) + header + bytes(64) + payload


def mapped(parts: list[bytes]) -> bytes:
    """A map of fields that are packed already."""
    return msgpack.Packer().pack_map_header(len(parts)) + b"".join(parts)


def respelt(fields: dict[str, Any], name: str, value: bytes) -> bytes:
    """A message with one value given in bytes of our own."""
    return mapped(
        [msgpack.packb(key) + (value if key == name else msgpack.packb(one)) for key, one in fields.items()]
    )


@pytest.fixture(scope="session")
def make_announcement() -> Callable[..., Announcement]:
    return announcement


@pytest.fixture(scope="session")
def make_greeting() -> Callable[..., Greeting]:
    return greeting


@pytest.fixture(scope="session")
def make_reply() -> Callable[..., Reply]:
    return reply


@pytest.fixture(scope="session")
def as_plain() -> Callable[[Any], Any]:
    return plain


@pytest.fixture(scope="session")
def with_bytes() -> Callable[[dict[str, Any], str, bytes], bytes]:
    return respelt


@pytest.fixture(scope="session")
def framed() -> Callable[..., bytes]:
    """`framed(header)` for header bytes or for plain values, which the independent library packs."""

    def make(header: bytes | dict[str, Any], *, payload: bytes = b"") -> bytes:
        packed = header if isinstance(header, bytes) else msgpack.packb(header)
        return frame_of(packed, payload=payload)

    return make
