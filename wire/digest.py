"""Content ids: what a blob is called is the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain

DIGEST_BYTES = 32
NO_DIGEST = bytes(DIGEST_BYTES)
"""Stands for "nothing before this" where a digest is required."""


def digest_of(*parts: bytes | bytearray | memoryview) -> bytes:
    """SHA-256 of the concatenated parts, 32 bytes."""
    if len(parts) == 1:
        return hashlib.sha256(parts[0]).digest()
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def fingerprint_of(label: str, parts: Iterable[bytes]) -> bytes:
    """A digest in a domain of its own, in which no two lists of parts collide by concatenation.

    Each part is preceded by its length (8 bytes, little-endian); the label comes first.
    """
    hasher = hashlib.sha256()
    # Chained rather than unpacked: the parts may be a whole model, read one by one.
    for part in chain((label.encode(),), parts):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def short(digest: bytes) -> str:
    """The first eight hexadecimal digits, for people."""
    return digest[:4].hex()


class Content:
    """Bytes with their name. Two contents are equal when their digests are.

    The digest is trusted here: make one with `Content.of`, or from bytes whose digest was verified.
    A plain class on purpose: encoders that look inside dataclasses would copy the bytes.
    """

    __slots__ = ("data", "digest")

    def __init__(self, digest: bytes, data: bytes) -> None:
        self.digest = digest
        self.data = data

    @classmethod
    def of(cls, data: bytes) -> Content:
        return cls(digest_of(data), data)

    @property
    def size(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Content({short(self.digest)}, {self.size} bytes)"
