"""Encodes and decodes the two headers of the blob protocol. The raw bytes of the blob follow them.

On a new stream of `messages.BLOB_PROTOCOL` the requester sends

    digest (32 bytes) | offset u64

and the holder answers

    status u8 | size u64 | bytes of the blob from `offset` to `size`

little-endian. `size` is that of the complete blob, 0 unless the status is `FOUND`. The requester knows size and digest
from a signed announcement before it asks, so no number in an answer decides how much memory is allocated.
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
    """A holder's answer to a request."""

    FOUND = 0
    NOT_HERE = 1
    BUSY = 2
    """Ask again later: the holder already serves as many pulls as it allows, or shows the blob to the asker only after
    it has heard an announcement of the asker. This answer costs the holder nothing."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Request for the blob with `digest`, from byte `offset` on."""

    digest: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class PullResponse:
    """Header of an answer. `size - offset` bytes follow it where the status is `FOUND`, none otherwise."""

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
    # Each answer has one encoding, as all messages have.
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
