"""Bulk frames follow the link: small where writes are slow, so that each passes before its deadline, else large."""

from __future__ import annotations

from typing import Any, cast
from weakref import WeakSet

import pytest
import trio
import trio.testing
from libp2p.abc import ISecureConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.yamux.yamux import YamuxStream

from peers.net.stack.tcp import UNSENT_BYTES, WRITE_DEADLINE_S
from peers.net.stack.yamux import MOST_RECORDS, BoundedYamux, BulkWriter
from peers.net.streams.blob_puller import MIN_RATE_BYTES_S

DATA = memoryview(bytes(2**21))


class Link:
    """A connection that takes `bytes_s`, once a buffer of the system is full."""

    is_initiator = True

    def __init__(self, bytes_s: float, buffered: int) -> None:
        self.bytes_s = bytes_s
        self._free = buffered
        self.frames: list[int] = []
        self.longest_s = 0.0

    async def write(self, data: bytes) -> None:
        waits_s = max(0, len(data) - self._free) / self.bytes_s
        self._free = max(0, self._free - len(data))
        self.frames.append(len(data))
        self.longest_s = max(self.longest_s, waits_s)
        await trio.sleep(waits_s)


def writer_on(link: Link) -> BulkWriter:
    connection = BoundedYamux(cast("ISecureConn", link), ID(b"peer"), WeakSet())
    stream = YamuxStream(1, connection, True)
    stream.send_window = len(DATA)
    unmetered: Any = None
    return BulkWriter(NetStream(stream, None, unmetered))


@pytest.mark.parametrize("buffered", [0, UNSENT_BYTES])
async def test_at_the_least_rate_every_frame_passes_long_before_its_deadline(
    buffered: int, autojump_clock: trio.testing.MockClock
) -> None:
    link = Link(MIN_RATE_BYTES_S, buffered)
    await writer_on(link).write(DATA)
    # The buffer hides the link from the first frame; the second, which waits, makes the next ones smaller.
    assert link.longest_s < WRITE_DEADLINE_S / 2
    assert link.frames[-2] == MAX_PLAINTEXT_LENGTH


async def test_where_writes_are_quick_frames_grow(autojump_clock: trio.testing.MockClock) -> None:
    link = Link(10e6, 0)
    await writer_on(link).write(DATA)
    assert link.frames[:4] == [MAX_PLAINTEXT_LENGTH * records for records in (1, 2, 4, 4)]
    assert max(link.frames) == MAX_PLAINTEXT_LENGTH * MOST_RECORDS


async def test_a_link_that_becomes_slow_gets_small_frames_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    link = Link(10e6, 0)
    writer = writer_on(link)
    await writer.write(DATA[: 2**20])
    link.bytes_s = 40_000
    await writer.write(DATA[2**20 :])
    assert link.frames[-2] == MAX_PLAINTEXT_LENGTH
    assert link.longest_s < WRITE_DEADLINE_S
