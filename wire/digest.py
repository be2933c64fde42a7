"""Content ids and fingerprints: a blob is named by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain

DIGEST_BYTES = 32
NO_DIGEST = bytes(DIGEST_BYTES)
"""Stands for "no previous announcement" where a digest is required."""


def digest_of(*parts: bytes | bytearray | memoryview) -> bytes:
    """SHA-256 of the concatenated parts, 32 bytes."""
    if len(parts) == 1:
        return hashlib.sha256(parts[0]).digest()
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def fingerprint_of(label: str, parts: Iterable[bytes]) -> bytes:
    """SHA-256 of the label and the parts, each preceded by its length (8 bytes, little-endian).

    The label separates domains. Because of the lengths, two lists of parts with equal concatenations differ.
    """
    hasher = hashlib.sha256()
    # Chained rather than unpacked: the parts may be the tensors of a model, read one at a time.
    for part in chain((label.encode(),), parts):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def short(digest: bytes) -> str:
    """The first eight hexadecimal digits of a digest, for display."""
    return digest[:4].hex()


class Content:
    """A blob and its digest. Two contents are equal if their digests are.

    The digest is not checked: construct a content with `Content.of`, or from bytes whose digest was verified.
    A plain class, because encoders that look inside dataclasses would copy the bytes.
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
