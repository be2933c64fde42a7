"""Encodes and decodes the authors whose blobs the maker of an announcement holds, so that others ask it for them.

The first three bytes of each author's key, rising, each once. A key that was made to begin like another one costs who
believes it a question in vain, no more: a blob is checked by its digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from wire.errors import WireError

PREFIX_BYTES: Final = 3
MAX_HOLDS: Final = 32
"""Most authors that an announcement names. Guess: twice the partners of a peer by default; 96 bytes."""


def prefix_of(key: bytes) -> bytes:
    """By what an author with this public key is named."""
    return key[:PREFIX_BYTES]


def encode_holds(keys: Iterable[bytes]) -> bytes:
    """Raises `ValueError` for more than `MAX_HOLDS` authors; those whose keys begin alike count as one."""
    prefixes = sorted({prefix_of(key) for key in keys})
    if len(prefixes) > MAX_HOLDS:
        raise ValueError(f"holds must name at most {MAX_HOLDS} authors, got {len(prefixes)}")
    return b"".join(prefixes)


def decode_holds(data: bytes) -> tuple[bytes, ...]:
    """The names of the authors, rising. Raises `WireError` and nothing else."""
    if len(data) % PREFIX_BYTES:
        raise WireError("announcement.holds", f"{len(data)} bytes, {PREFIX_BYTES} for each author")
    prefixes = tuple(data[at : at + PREFIX_BYTES] for at in range(0, len(data), PREFIX_BYTES))
    if any(one >= following for one, following in pairwise(prefixes)):
        raise WireError("announcement.holds", "not rising")
    return prefixes
