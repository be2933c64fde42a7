"""Streams whose readers give back the window in large pieces, and agree on a protocol in one round trip."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast
from weakref import WeakSet

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from libp2p.abc import INetStream, ISecureConn
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    HEADER_SIZE,
    TYPE_DATA,
    YAMUX_HEADER_FORMAT,
    YamuxStream,
)

from peers.net.host import Unreachable
from peers.net.stack.tcp import Socket
from peers.net.stack.yamux import JOINED_BYTES, BoundedYamux, Pieces
from peers.net.streams import requests
from support.live_networks import Together

MUCH = 5 * DEFAULT_WINDOW_SIZE


class End:
    """One end of a connection in memory. `frames` are the types of what was written, but for SYN and ACK."""

    def __init__(self, stream: trio.abc.Stream, *, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self.frames: list[int] = []
        self._stream = stream

    async def read(self, n: int) -> bytes:
        parts = b""
        while len(parts) < n:
            part = await self._stream.receive_some(n - len(parts))
            if not part:
                return parts
            parts += bytes(part)
        return parts

    async def write(self, data: bytes) -> None:
        _, kind, flags, _, _ = struct.unpack(YAMUX_HEADER_FORMAT, data[:HEADER_SIZE])
        if not flags:
            self.frames.append(kind)
        await self._stream.send_all(data)


@asynccontextmanager
async def two_ends() -> AsyncGenerator[tuple[YamuxStream, YamuxStream, End], None]:
    """Both ends of an open stream, and the connection of the second."""
    near, far = trio.testing.memory_stream_pair()
    ends = End(near, is_initiator=True), End(far, is_initiator=False)
    asker, answerer = (BoundedYamux(cast("ISecureConn", end), ID(b"peer"), WeakSet()) for end in ends)
    async with trio.open_nursery() as nursery:
        for connection in (asker, answerer):
            nursery.start_soon(connection.start)
            await connection.event_started.wait()
        stream = await asker.open_stream()
        yield stream, cast("YamuxStream", await answerer.accept_stream()), ends[1]
        nursery.cancel_scope.cancel()


@given(st.lists(st.one_of(st.binary(max_size=9), st.integers(0, 12)), max_size=30))
def test_pieces_hold_what_a_bytearray_would(steps: list[bytes | int]) -> None:
    """Bytes come; a number is read as the library reads, by a slice, or by `pop`, in turns."""
    pieces, whole = Pieces(b"begin"), bytearray(b"begin")
    for step in steps:
        if isinstance(step, bytes):
            pieces.extend(step)
            whole += step
        elif step % 2 or not pieces:
            assert pieces[:step] == whole[:step]
            del pieces[:step], whole[:step]
        else:
            got = pieces.pop(step)
            assert got == whole[: len(got)]
            assert len(got) <= step
            del whole[: len(got)]
        assert (bytes(pieces), len(pieces), bool(pieces)) == (whole, len(whole), bool(whole))
    pieces.clear()
    assert (bytes(pieces), len(pieces)) == (b"", 0)


def test_bytes_that_come_one_by_one_are_held_in_few_pieces() -> None:
    pieces = Pieces()
    for _ in range(10 * JOINED_BYTES):
        pieces.extend(b"x")
    assert pieces.count <= 11
    assert len(pieces) == 10 * JOINED_BYTES


def test_a_large_piece_is_handed_on_as_it_came() -> None:
    pieces, large = Pieces(b"small"), bytes(2 * JOINED_BYTES)
    pieces.extend(large)
    assert pieces.pop(100) == b"small"
    assert pieces.pop(len(large)) is large


async def test_small_reads_send_nothing() -> None:
    with trio.fail_after(5):
        async with two_ends() as (writer, reader, end):
            for number in range(100):
                await writer.write(bytes([number]) * 10)
                assert await reader.read(3) + await reader.read(7) == bytes([number]) * 10
            assert end.frames == []


async def test_a_long_stream_goes_on_and_its_window_stays_as_large() -> None:
    with trio.fail_after(5):
        async with two_ends() as (writer, reader, end), trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, bytes(MUCH))
            got = 0
            while got < MUCH:
                got += len(await reader.read(10_000))
            assert TYPE_DATA not in end.frames
            assert len(end.frames) <= MUCH // (DEFAULT_WINDOW_SIZE // 2)
            assert reader.recv_window <= DEFAULT_WINDOW_SIZE


async def test_a_protocol_that_the_other_end_does_not_speak_is_told_at_once(real: Together) -> None:
    async with real(2) as (asker, other):
        with trio.fail_after(2), pytest.raises(Unreachable, match="does not speak /nobody/1"):
            await asker.network._life._streams.open(other.id, "/nobody/1")


LINES = b"\x13/multistream/1.0.0\n\x08/mine/1\n"


class Answering:
    """A stream whose other end answers these parts, and then ends."""

    def __init__(self, *parts: bytes) -> None:
        self.wrote = b""
        self.protocol = ""
        self._parts = list(parts)

    async def write(self, data: bytes) -> None:
        self.wrote += data

    async def read(self, n: int) -> bytes:
        if not self._parts:
            return b""
        part, left = self._parts[0][:n], self._parts[0][n:]
        self._parts[:1] = [left] if left else []
        return part

    def set_protocol(self, protocol: str) -> None:
        self.protocol = protocol


@pytest.mark.parametrize(
    ("parts", "agrees"),
    [
        ((LINES,), True),
        (tuple(bytes([one]) for one in LINES), True),
        # What follows belongs to the protocol.
        ((LINES + b"more",), True),
        ((LINES[:20], b"\x03na\n"), False),
        ((LINES[:20], b"\x08/them/1\n"), False),
        ((b"\x13/multistream/2.0.0\n",), False),
        ((bytes(100),), False),
        ((b"\xff" * 10_000,), False),
        ((LINES[:25],), False),
        ((), False),
    ],
)
async def test_only_the_same_lines_agree(parts: tuple[bytes, ...], agrees: bool) -> None:
    stream = Answering(*parts)
    with trio.fail_after(1):
        assert await requests._agreed(cast("INetStream", stream), "/mine/1") is agrees
    assert stream.wrote == LINES
    assert stream.protocol == ("/mine/1" if agrees else "")


@pytest.mark.parametrize("beside", [-1, 0, 1, 60])
async def test_a_blob_as_large_as_a_window_comes_whole(real: Together, beside: int) -> None:
    """Agreeing on the protocol has taken some bytes of the window already."""
    blob = bytes(DEFAULT_WINDOW_SIZE + beside)
    async with real(2) as (asker, holder):
        digest = holder.peer.keep(blob)
        with trio.fail_after(5):
            assert await asker.network.pull(digest, len(blob), (holder.id,)) == blob


async def test_a_pull_takes_few_writes(real: Together, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream and the request at one end; that it is taken, its protocol, the head, the blob, the end of both."""
    writes: list[int] = []
    write = Socket.write

    async def counted(connection: Socket, data: bytes) -> None:
        writes.append(len(data))
        await write(connection, data)

    async with real(2) as (asker, holder):
        digest = holder.peer.keep(b"small")
        await trio.sleep(0.5)
        monkeypatch.setattr(Socket, "write", counted)
        await asker.network.pull(digest, 5, (holder.id,))
        assert len(writes) <= 12, writes
