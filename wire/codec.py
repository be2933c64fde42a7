"""Encodes and decodes messages, and checks every limit before memory is allocated.

A frame on the announcement topic:

    "GLA3" | u16 header length | header (MessagePack map) | 64-byte Ed25519 signature | payload

The signature covers `SIGNING_CONTEXT + header`. The payload is either empty or the complete evidence blob,
whose digest and size stand in the header, so that small evidence needs no pull. All integers outside
MessagePack are little-endian.

MessagePack has several encodings of the same value, and msgspec accepts repeated keys (the last one wins). A header
is therefore accepted only if encoding the decoded message reproduces its bytes: one message, one digest, one
signature.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

import msgspec

from wire.digest import digest_of
from wire.errors import WireError
from wire.holders import decode_holds
from wire.messages import Announcement, Greeting, Message, Reply

MAGIC: Final = b"GLA3"
SIGNING_CONTEXT: Final = b"gossipllm/announce/3\0"
SIGNATURE_BYTES: Final = 64
MAX_ANNOUNCEMENT_BYTES: Final = 6_144
"""Bound of magic, length, header and signature together. An announcement takes about 850 bytes, and 5,829 where
every field has its maximum length."""
MAX_INLINE_BYTES: Final = 32_768
"""Evidence up to this size is sent inside the frame. A pubsub message must fit one Yamux frame (64 kB less the RPC
around it); otherwise two writers on one stream can interleave."""
MAX_FRAME_BYTES: Final = MAX_ANNOUNCEMENT_BYTES + MAX_INLINE_BYTES
MOST_DECODED: Final = 1_024
"""Decoded headers that are remembered, about 3 kB each and at most 12 kB. A frame comes again by comparison, and in a
simulated network every peer gets the same bytes, of as many authors at a time as there are peers."""
MAX_GREETING_BYTES: Final = 65_536
MAX_REPLY_BYTES: Final = 262_144

M = TypeVar("M", bound=Message)

_PREFIX = struct.Struct("<4sH")
# The three forms of msgspec's messages that `_refusal` reads. A form that msgspec changes is still reported, as the
# reason for the whole message.
_AT_FIELD = re.compile(r"(?P<reason>.*) - at `\$(?P<path>(?:\.[a-z_]+|\[\d+\])*)`")
_UNKNOWN = "Object contains unknown field "
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_MAX_REASON = 120
_encoder = msgspec.msgpack.Encoder()
_announcements = msgspec.msgpack.Decoder(Announcement)
_greetings = msgspec.msgpack.Decoder(Greeting)
_replies = msgspec.msgpack.Decoder(Reply)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A decoded frame. Its signature is not verified yet: the receiver does that next."""

    announcement: Announcement
    header: bytes
    signature: bytes
    payload: bytes

    digest: bytes
    """Digest of the announcement, which `previous` of the author's next announcement states."""

    @property
    def signed(self) -> bytes:
        return SIGNING_CONTEXT + self.header


def encode_announcement(
    announcement: Announcement, sign: Callable[[bytes], bytes], *, payload: bytes = b""
) -> bytes:
    """Encode `announcement` as a frame, signed by `sign(SIGNING_CONTEXT + header)`.

    Raises `ValueError` for a frame that receivers would refuse: above a limit, with a payload that is not the
    announced evidence, or with a field out of bounds.
    """
    header = _encoder.encode(announcement)
    bare = _PREFIX.size + len(header) + SIGNATURE_BYTES
    if bare > MAX_ANNOUNCEMENT_BYTES:
        raise ValueError(f"announcement takes {bare} bytes, limit {MAX_ANNOUNCEMENT_BYTES}")
    try:
        announcement, _ = _announcement(header)
        if payload:
            _check_payload(announcement, payload)
    except WireError as error:
        raise ValueError(str(error)) from None
    signature = sign(SIGNING_CONTEXT + header)
    return b"".join((_PREFIX.pack(MAGIC, len(header)), header, signature, payload))


def decode_announcement(frame: bytes) -> Frame:
    """Decode a frame and check everything except its signature. Raises `WireError` and nothing else."""
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError("frame.length", f"{len(frame)} > {MAX_FRAME_BYTES}")
    if len(frame) < _PREFIX.size:
        raise WireError("frame.length", f"{len(frame)} < {_PREFIX.size}")
    magic, header_bytes = _PREFIX.unpack_from(frame)
    if magic != MAGIC:
        raise WireError("frame.magic", f"expected {MAGIC!r}, got {magic!r}")
    signature_at = _PREFIX.size + header_bytes
    payload_at = signature_at + SIGNATURE_BYTES
    if payload_at > MAX_ANNOUNCEMENT_BYTES or payload_at > len(frame):
        bound = min(MAX_ANNOUNCEMENT_BYTES, len(frame))
        raise WireError("frame.header_length", f"{header_bytes} does not fit {bound} bytes")
    header = bytes(frame[_PREFIX.size : signature_at])
    payload = bytes(frame[payload_at:])
    announcement, digest = _announcement(header)
    if payload:
        _check_payload(announcement, payload)
    return Frame(announcement, header, bytes(frame[signature_at:payload_at]), payload, digest)


def speaks_this_version(frame: bytes) -> bool:
    """Whether a valid frame is one of this version of the protocol, and not of another one."""
    return frame.startswith(MAGIC)


def announcement_digest(frame: bytes) -> bytes:
    """`Frame.digest` without decoding, for the cost of one hash. `frame` must be a valid frame."""
    _, header_bytes = _PREFIX.unpack_from(frame)
    return digest_of(frame[_PREFIX.size : _PREFIX.size + header_bytes])


def without_payload(frame: bytes) -> bytes:
    """The frame of the same signed announcement without its payload. `frame` must be a valid frame."""
    _, header_bytes = _PREFIX.unpack_from(frame)
    return frame[: _PREFIX.size + header_bytes + SIGNATURE_BYTES]


def encode_greeting(greeting: Greeting) -> bytes:
    """Raises `ValueError` for a greeting that receivers would refuse."""
    return _encode_checked(greeting, decode_greeting)


def decode_greeting(data: bytes) -> Greeting:
    """Raises `WireError` and nothing else."""
    _check_length("greeting", data, MAX_GREETING_BYTES)
    return _decode(_greetings, data, "greeting")


def encode_reply(reply: Reply) -> bytes:
    """Raises `ValueError` for a reply that receivers would refuse."""
    return _encode_checked(reply, decode_reply)


def decode_reply(data: bytes) -> Reply:
    """Raises `WireError` and nothing else. The frames inside are checked for length only, not decoded."""
    _check_length("reply", data, MAX_REPLY_BYTES)
    reply = _decode(_replies, data, "reply")
    for index, frame in enumerate(reply.frames):
        if len(frame) > MAX_ANNOUNCEMENT_BYTES:
            raise WireError(f"reply.frames[{index}]", f"{len(frame)} > {MAX_ANNOUNCEMENT_BYTES} bytes")
    return reply


@lru_cache(maxsize=MOST_DECODED)
def _announcement(header: bytes) -> tuple[Announcement, bytes]:
    """The announcement in a header, and its digest."""
    announcement = _decode(_announcements, header, "announcement")
    if announcement.shares:
        _check_distinct("shares", [share.to for share in announcement.shares])
    if announcement.contexts:
        _check_distinct("contexts", [context.key for context in announcement.contexts])
    _check_distinct("packed", [one.base for one in announcement.packed or ()])
    if announcement.holds:
        decode_holds(announcement.holds)
    return announcement, digest_of(header)


def _check_distinct(field: str, keys: list[bytes]) -> None:
    if len(set(keys)) < len(keys):
        raise WireError(f"announcement.{field}", "two of them have one key")


def _check_payload(announcement: Announcement, payload: bytes) -> None:
    # Lengths before the digest, so that a payload that cannot be right costs no hash.
    if len(payload) > MAX_INLINE_BYTES:
        raise WireError("frame.payload", f"{len(payload)} > {MAX_INLINE_BYTES} bytes")
    if len(payload) != announcement.evidence.size:
        raise WireError("frame.payload", f"{len(payload)} bytes, announced {announcement.evidence.size}")
    if digest_of(payload) != announcement.evidence.digest:
        raise WireError("frame.payload", "digest is not the announced one")


def _check_length(what: str, data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise WireError(f"{what}.length", f"{len(data)} > {limit}")


def _encode_checked(message: M, decode: Callable[[bytes], M]) -> bytes:
    data = _encoder.encode(message)
    # msgspec checks bounds when it decodes, not when a struct is made, so decoding is the check of our own messages.
    try:
        decode(data)
    except WireError as error:
        raise ValueError(str(error)) from None
    return data


def _decode(decoder: msgspec.msgpack.Decoder[M], data: bytes, what: str) -> M:
    # UnicodeDecodeError and RecursionError are not msgspec errors, but hostile bytes can cause both.
    try:
        message = decoder.decode(data)
    except msgspec.ValidationError as error:
        raise _refusal(what, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(what, f"not MessagePack: {_shown(str(error))}") from None
    if _encoder.encode(message) != data:
        raise WireError(what, "not in canonical form")
    return message


def _refusal(what: str, text: str) -> WireError:
    """Parse the field and the reason from the text of msgspec's error.

    That text quotes an unknown field's name as the remote chose it, and the name may imitate the rest of the text. It
    must not be reported as a known field, and control characters in it must not reach a log.
    """
    if text.startswith(_UNKNOWN):
        return WireError(what, f"unknown field {_shown(text.removeprefix(_UNKNOWN))}")
    at_field = _AT_FIELD.fullmatch(text)
    path, reason = (at_field["path"], at_field["reason"]) if at_field else ("", text)
    missing = _MISSING.fullmatch(reason)
    if missing:
        return WireError(f"{what}{path}.{missing['name']}", "missing")
    return WireError(what + path, _shown(reason))


def _shown(text: str) -> str:
    return ascii(text[:_MAX_REASON])[1:-1]
