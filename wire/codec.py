"""Messages to bytes and back, with every limit checked before memory is taken.

A frame on the announcement topic:

    "GLA2" | u16 header length | header (MessagePack map) | 64-byte Ed25519 signature | payload

The signature covers `SIGNING_CONTEXT + header`. The payload is either empty or the whole evidence blob,
whose digest and size stand in the header, so that small evidence needs no pull. All integers outside
MessagePack are little-endian.

MessagePack allows the same value in many spellings, and msgspec takes the last of two equal keys. A
header therefore counts only if encoding what was decoded gives back the same bytes: one message, one
digest, one signature.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from wire.digest import digest_of
from wire.errors import WireError
from wire.messages import Announcement, Greeting, Message, Reply

MAGIC: Final = b"GLA2"
SIGNING_CONTEXT: Final = b"gossipllm/announce/2\0"
SIGNATURE_BYTES: Final = 64
MAX_ANNOUNCEMENT_BYTES: Final = 6_144
"""Magic, length, header and signature together. An announcement takes about 700 bytes, and 6,003 where every
field is at its longest."""
MAX_INLINE_BYTES: Final = 32_768
"""Evidence up to this size rides in the frame. A pubsub message must fit one Yamux frame (64 kB less the
RPC around it), or two writers on one stream can interleave."""
MAX_FRAME_BYTES: Final = MAX_ANNOUNCEMENT_BYTES + MAX_INLINE_BYTES
MAX_GREETING_BYTES: Final = 65_536
MAX_REPLY_BYTES: Final = 262_144

M = TypeVar("M", bound=Message)

_PREFIX = struct.Struct("<4sH")
_AT_FIELD = re.compile(r"(?P<reason>.*) - at `\$(?P<path>(?:\.[a-z_]+|\[\d+\])*)`")
_UNKNOWN = "Object contains unknown field "
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_MAX_REASON = 120
_encoder = msgspec.msgpack.Encoder()
_announcements = msgspec.msgpack.Decoder(Announcement)
_greetings = msgspec.msgpack.Decoder(Greeting)
_replies = msgspec.msgpack.Decoder(Reply)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A decoded frame. Its signature has not been verified: that is the receiver's next step."""

    announcement: Announcement
    header: bytes
    signature: bytes
    payload: bytes

    @property
    def digest(self) -> bytes:
        """The announcement's own digest: what `previous` of the author's next one will name."""
        return digest_of(self.header)

    @property
    def signed(self) -> bytes:
        return SIGNING_CONTEXT + self.header


def encode_announcement(
    announcement: Announcement, sign: Callable[[bytes], bytes], *, payload: bytes = b""
) -> bytes:
    """The frame that carries `announcement`, signed by `sign(SIGNING_CONTEXT + header)`.

    Raises `ValueError` if it would pass a limit, if the payload is not the announced evidence, or if a
    field is one that others would refuse.
    """
    header = _encoder.encode(announcement)
    bare = _PREFIX.size + len(header) + SIGNATURE_BYTES
    if bare > MAX_ANNOUNCEMENT_BYTES:
        raise ValueError(f"announcement takes {bare} bytes, limit {MAX_ANNOUNCEMENT_BYTES}")
    try:
        _announcement(header, payload)
    except WireError as error:
        raise ValueError(str(error)) from None
    signature = sign(SIGNING_CONTEXT + header)
    return b"".join((_PREFIX.pack(MAGIC, len(header)), header, signature, payload))


def decode_announcement(frame: bytes) -> Frame:
    """The frame's parts, everything checked but the signature. Raises `WireError` and nothing else."""
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
    announcement = _announcement(header, payload)
    return Frame(announcement, header, bytes(frame[signature_at:payload_at]), payload)


def announcement_digest(frame: bytes) -> bytes:
    """`Frame.digest`, at the cost of a hash. `frame` must be one that decodes."""
    _, header_bytes = _PREFIX.unpack_from(frame)
    return digest_of(frame[_PREFIX.size : _PREFIX.size + header_bytes])


def without_payload(frame: bytes) -> bytes:
    """The same signed announcement with no evidence inside. `frame` must be one that decodes."""
    _, header_bytes = _PREFIX.unpack_from(frame)
    return frame[: _PREFIX.size + header_bytes + SIGNATURE_BYTES]


def encode_greeting(greeting: Greeting) -> bytes:
    """Raises `ValueError` for a greeting that others would refuse."""
    return _acceptable(greeting, decode_greeting)


def decode_greeting(data: bytes) -> Greeting:
    """Raises `WireError` and nothing else."""
    _check_length("greeting", data, MAX_GREETING_BYTES)
    return _decode(_greetings, data, "greeting")


def encode_reply(reply: Reply) -> bytes:
    """Raises `ValueError` for a reply that others would refuse."""
    return _acceptable(reply, decode_reply)


def decode_reply(data: bytes) -> Reply:
    """Raises `WireError` and nothing else. Its frames are still to be decoded one by one."""
    _check_length("reply", data, MAX_REPLY_BYTES)
    reply = _decode(_replies, data, "reply")
    for index, frame in enumerate(reply.frames):
        if len(frame) > MAX_ANNOUNCEMENT_BYTES:
            raise WireError(f"reply.frames[{index}]", f"{len(frame)} > {MAX_ANNOUNCEMENT_BYTES} bytes")
    return reply


def _announcement(header: bytes, payload: bytes) -> Announcement:
    announcement = _decode(_announcements, header, "announcement")
    _check_different("shares", [share.to for share in announcement.shares])
    _check_different("contexts", [context.key for context in announcement.contexts])
    _check_payload(announcement, payload)
    return announcement


def _check_different(field: str, keys: list[bytes]) -> None:
    if len(set(keys)) < len(keys):
        raise WireError(f"announcement.{field}", "two of them have one key")


def _check_payload(announcement: Announcement, payload: bytes) -> None:
    if not payload:
        return
    if len(payload) > MAX_INLINE_BYTES:
        raise WireError("frame.payload", f"{len(payload)} > {MAX_INLINE_BYTES} bytes")
    if len(payload) != announcement.evidence.size:
        raise WireError("frame.payload", f"{len(payload)} bytes, announced {announcement.evidence.size}")
    if digest_of(payload) != announcement.evidence.digest:
        raise WireError("frame.payload", "digest is not the announced one")


def _check_length(what: str, data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise WireError(f"{what}.length", f"{len(data)} > {limit}")


def _acceptable(message: M, decode: Callable[[bytes], M]) -> bytes:
    data = _encoder.encode(message)
    try:
        decode(data)
    except WireError as error:
        raise ValueError(str(error)) from None
    return data


def _decode(decoder: msgspec.msgpack.Decoder[M], data: bytes, what: str) -> M:
    # UnicodeDecodeError and RecursionError are not msgspec errors, yet hostile bytes reach both.
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
    """The field and the reason, from the text of msgspec's error.

    That text quotes an unknown field's name as the remote chose it, and the name may imitate the rest of
    the text: it must not become a field of ours, nor may what steers a terminal reach a log.
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
