"""Requests and answers over a pair of pipes: framed MessagePack headers and raw contents.

    u32 header length | header | the bytes of each content that the header lists, in that order

The header is `[contents, message]`, where `contents` lists `[digest, size]` and the message names contents by digest.
Both ends remember the contents that crossed since the last `Merge`, `Absorb` or `Restore`, so that a neighbour's update
is sent to the learner once although `Weigh`, `Confirm`, several `Evaluate` and `Merge` refer to it. The two ends are
processes of one program and trust each other; the limits guard against a broken pipe, not against malice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

import msgspec

from gossipllm.work import Absorb, Answer, Beat, Merge, Request, Restore
from wire.digest import Content

PREFIX: Final = struct.Struct("<I")
MAX_HEADER_BYTES: Final = 16 * 2**20
MAX_CONTENT_BYTES: Final = 2**33

M = TypeVar("M")


class PipeError(Exception):
    """The other end sent bytes that are not a frame: the process at that end is broken."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """The frame's contents, as (digest, size), and the message that refers to them, still encoded."""

    contents: tuple[tuple[bytes, int], ...]
    message: msgspec.Raw


class Sender(Generic[M]):
    """Turns messages into frames, with each content once until `forget`."""

    def __init__(self) -> None:
        self._sent: set[bytes] = set()

    def frame(self, message: M) -> list[bytes]:
        """The pieces to write, one after the other."""
        fresh: dict[bytes, Content] = {}

        def name(value: object) -> bytes:
            if not isinstance(value, Content):
                # msgspec expects this exception from a hook for a type that it cannot encode.
                raise NotImplementedError(type(value).__name__)
            if value.digest not in self._sent:
                fresh[value.digest] = value
            return value.digest

        body = msgspec.msgpack.encode(message, enc_hook=name)
        listed = tuple((content.digest, content.size) for content in fresh.values())
        header = msgspec.msgpack.encode(Header(contents=listed, message=msgspec.Raw(body)))
        self._sent.update(fresh)
        return [PREFIX.pack(len(header)), header, *(content.data for content in fresh.values())]

    def forget(self) -> None:
        self._sent.clear()


class Receiver(Generic[M]):
    """Turns frames into messages, keeping contents until `forget`."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._held: dict[bytes, Content] = {}

    @staticmethod
    def header_bytes(prefix: bytes) -> int:
        (count,) = PREFIX.unpack(prefix)
        if count > MAX_HEADER_BYTES:
            raise PipeError(f"header of {count} bytes")
        return count

    @staticmethod
    def header(data: bytes) -> Header:
        try:
            header = msgspec.msgpack.decode(data, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PipeError(f"not a header: {error}") from None
        if any(not 0 <= size <= MAX_CONTENT_BYTES for _, size in header.contents):
            raise PipeError("a content's size is out of range")
        return header

    def message(self, header: Header, contents: Iterable[bytes]) -> M:
        """The message, given the raw contents in the order in which the header lists them."""
        for (digest, _), data in zip(header.contents, contents, strict=True):
            self._held[digest] = Content(digest, data)

        def find(kind: type, value: object) -> object:
            if kind is not Content or not isinstance(value, bytes) or value not in self._held:
                raise PipeError("a message names a content that was not sent")
            return self._held[value]

        try:
            return msgspec.msgpack.decode(header.message, type=self._kind, dec_hook=find)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PipeError(f"not a message: {error}") from None

    def forget(self) -> None:
        self._held.clear()


def requests_out() -> Sender[Request]:
    return Sender()


def requests_in() -> Receiver[Request]:
    return Receiver(Request)


def answers_out() -> Sender[Answer | Beat]:
    return Sender()


def answers_in() -> Receiver[Answer | Beat]:
    return Receiver(Answer | Beat)


def ends_exchange(message: Request) -> bool:
    """Whether contents sent so far are not needed after this request. Both ends ask, so that they forget alike."""
    return isinstance(message, Merge | Absorb | Restore)
