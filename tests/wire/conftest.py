"""Builders of messages and frames, valid and not."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import pytest

from wire.messages import Announcement, BlobRef, Fingerprints, Greeting, Latest, Reply

PREFIX = struct.Struct("<4sH")


def fingerprints() -> Fingerprints:
    return Fingerprints(base=b"b" * 32, tokenizer=b"t" * 32, reference=b"r" * 32, layout=b"l" * 32)


def announcement(**changes: Any) -> Announcement:
    fields: dict[str, Any] = {
        "v": 1,
        "net": b"n" * 32,
        "fingerprints": fingerprints(),
        "author": b"a" * 32,
        "name": "ann",
        "round": 7,
        "previous": b"p" * 32,
        "update": BlobRef(digest=b"u" * 32, size=4_000_000),
        "evidence": BlobRef(digest=b"e" * 32, size=15_640),
        "tokens": 1_000,
        "samples": 10,
        "steps": 20,
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
    if isinstance(value, Latest):
        return [value.author, value.round]
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return [plain(one) for one in value] if isinstance(value, tuple) else value


def frame_of(header: bytes, *, payload: bytes = b"") -> bytes:
    """A frame around any header, with a signature that nobody has made."""
    return PREFIX.pack(b"GLA1", len(header)) + header + bytes(64) + payload


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
def framed() -> Callable[..., bytes]:
    """`framed(header)` for header bytes or for plain values, which the independent library packs."""

    def make(header: bytes | dict[str, Any], *, payload: bytes = b"") -> bytes:
        packed = header if isinstance(header, bytes) else msgpack.packb(header)
        return frame_of(packed, payload=payload)

    return make
