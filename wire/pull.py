"""The two heads of the blob protocol to bytes and back; the blob itself follows raw.

On a fresh stream of `messages.BLOB_PROTOCOL` the asker sends

    digest (32 bytes) | offset u64

and the holder answers

    status u8 | size u64 | the blob's bytes from `offset` to `size`

little-endian. `size` is the whole blob's, 0 unless the status is `FOUND`. The asker knows size and digest
from a signed announcement before it asks, so nothing here decides how much memory is taken.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from wire.digest import DIGEST_BYTES
from wire.errors import WireError

_REQUEST = struct.Struct(f"<{DIGEST_BYTES}sQ")
_RESPONSE = struct.Struct("<BQ")

REQUEST_BYTES: Final = _REQUEST.size
RESPONSE_BYTES: Final = _RESPONSE.size


class PullStatus(IntEnum):
    """What the holder says to a request."""

    FOUND = 0
    NOT_HERE = 1
    BUSY = 2
    """Ask again later; costs the holder nothing."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Give me the blob with this digest, from this byte on."""

    digest: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class PullResponse:
    """What follows: `size - offset` bytes where the status is `FOUND`, nothing otherwise."""

    status: PullStatus
    size: int


def encode_pull_request(request: PullRequest) -> bytes:
    if len(request.digest) != DIGEST_BYTES:
        raise ValueError(f"digest must have {DIGEST_BYTES} bytes, got {len(request.digest)}")
    if not 0 <= request.offset < 2**64:
        raise ValueError(f"offset must be in 0..2^64-1, got {request.offset}")
    return _REQUEST.pack(request.digest, request.offset)


def decode_pull_request(data: bytes) -> PullRequest:
    """Raises `WireError` and nothing else."""
    if len(data) != REQUEST_BYTES:
        raise WireError("pull.request", f"{len(data)} bytes, expected {REQUEST_BYTES}")
    digest, offset = _REQUEST.unpack(data)
    return PullRequest(digest, offset)


def encode_pull_response(response: PullResponse) -> bytes:
    if not 0 <= response.size < 2**64:
        raise ValueError(f"size must be in 0..2^64-1, got {response.size}")
    if response.status is not PullStatus.FOUND and response.size:
        raise ValueError(f"size must be 0 with {response.status.name}, got {response.size}")
    return _RESPONSE.pack(response.status, response.size)


def decode_pull_response(data: bytes) -> PullResponse:
    """Raises `WireError` and nothing else."""
    if len(data) != RESPONSE_BYTES:
        raise WireError("pull.response", f"{len(data)} bytes, expected {RESPONSE_BYTES}")
    status, size = _RESPONSE.unpack(data)
    try:
        known = PullStatus(status)
    except ValueError:
        raise WireError("pull.status", f"expected 0, 1 or 2, got {status}") from None
    if known is not PullStatus.FOUND and size:
        raise WireError("pull.size", f"expected 0 with {known.name}, got {size}")
    return PullResponse(known, size)
