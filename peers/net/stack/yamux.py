"""Yamux of py-libp2p 0.8.1 with the bounds that it lacks, and faster reads and writes of bulk data.

The library warns about a remote that sends more than its window allows, and buffers it all the same; it
also lets one remote open streams without end. Here both end the connection or the stream.

Bulk: the library's `read` sends a window update for nearly every frame (each one a record of Noise and a
system call), and its `write` makes frames of 64 KiB, each of which costs about 0.2 ms of scheduling at the
two ends. A reader that knows how much will come grants the window ahead, once for each `GRANT_BYTES`, and
reads without updates; a writer of much makes frames of up to `MOST_RECORDS` records of Noise, which any Yamux accepts:
as many as pass quickly, because a frame that does not pass within `tcp.WRITE_DEADLINE_S` ends the connection.
"""

from __future__ import annotations

import logging
import struct
from collections import deque
from typing import cast
from weakref import WeakSet

import trio
from libp2p.abc import IMuxedConn, IMuxedStream, INetStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    HEADER_SIZE,
    PROTOCOL_ID,
    TYPE_DATA,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

_log = logging.getLogger(__name__)

MAX_STREAMS = 64
"""Streams that may be open on one connection; a neighbour needs one for gossip and a few for blobs."""
ALL_STREAMS = 512
"""Streams on all connections together, about 20 kB each. Beyond it, a connection with more than its share gets no new
ones. Guess: eight for each of 64 neighbours."""
GRANT_BYTES = 4 * 2**20
"""Window granted ahead of a bulk read. Guess: enough for 20 MB/s at 200 ms of latency."""
OTHER_BYTES = 2 * 2**20
"""Room on one connection for the unread bytes of streams that are not bulk: eight full windows."""
ALL_OTHER_BYTES = 16 * 2**20
"""The same on all connections together. Beyond it, a connection that holds more than its share ends."""
MOST_RECORDS = 4
"""Records of Noise that a frame fills at most. Both ends together took 6.0 ms of processor a MB with one and 4.2 with
four or sixteen (benchmarks/pull_cost.py), and other streams of the connection wait for a whole frame. With sixteen a
round of four peers took 4 % less processor time, but a frame that meets a link of 40 kB/s would end the connection."""
QUICK_S = 0.25
"""A frame that passes in less makes the next one larger, one that takes four times as long makes it smaller: four
records at 1 MB/s, one at the least rate of a pull."""
READ_BYTES = MOST_RECORDS * MAX_PLAINTEXT_LENGTH
"""Most that a bulk reader takes at a time."""
JOINED_BYTES = 16_384
"""Pieces of a bulk stream that are not larger together are held as one, so that a few hundred hold all that is granted,
however small its frames are. Guess."""
FRAME_DEADLINE_S = 60.0
"""For the body of one frame. Guess."""
WINDOW_POLL_S = 0.001
"""Between two looks at a window that is full: the library has no event for its growth. At 100 MB/s it is 100 kB."""


class QuietStream(YamuxStream):
    """A stream whose reader gives back the window in large pieces."""

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        del bytes_read
        unread = len(self.conn.stream_buffers.get(self.stream_id, b""))
        read = DEFAULT_WINDOW_SIZE - self.recv_window - unread
        if read >= DEFAULT_WINDOW_SIZE // 2:
            self.recv_window += read
            await self.send_window_update(read)


class BoundedYamux(Yamux):
    """A connection that cannot be made to hold more bytes or streams than its own limits and those of all
    connections allow."""

    def __init__(self, conn: ISecureConn, peer_id: ID, live: WeakSet[BoundedYamux]) -> None:
        """`live` are the connections of the same host; this one adds itself."""
        super().__init__(conn, peer_id, is_initiator=conn.is_initiator)
        self._live = live
        self._bulk: set[int] = set()
        self._records = 1
        live.add(self)

    def read_in_bulk(self, stream_id: int) -> Pieces:
        """Allow this stream the unread bytes that a `BulkReader` grants, and return them as they come."""
        self._bulk.add(stream_id)
        pieces = Pieces(self.stream_buffers[stream_id]) if stream_id in self.stream_buffers else Pieces()
        # The library needs of it what `Pieces` has.
        self.stream_buffers[stream_id] = cast("bytearray", pieces)
        return pieces

    @property
    def frame_bytes(self) -> int:
        """Most bytes of the next bulk frame. With its header it fills records of Noise, without one for a few bytes."""
        return self._records * MAX_PLAINTEXT_LENGTH - HEADER_SIZE

    def passed(self, size: int, seconds: float) -> None:
        """Take note of how long a bulk frame waited for the connection and then for the socket."""
        if seconds > 4 * QUICK_S:
            self._records = max(1, self._records // 2)
        elif seconds < QUICK_S and size == self.frame_bytes:
            self._records = min(MOST_RECORDS, 2 * self._records)

    @property
    def other_bytes(self) -> int:
        """Unread bytes of streams that are not read in bulk."""
        return sum(len(buffer) for stream, buffer in self.stream_buffers.items() if stream not in self._bulk)

    async def start(self) -> None:
        """Ends with the connection. What the library raises here would end the whole swarm."""
        try:
            await super().start()
        except Exception as error:  # noqa: BLE001 - one connection's trouble
            _log.debug("the muxer of %s died: %s", self.peer_id, type(error).__name__)
            self.event_started.set()
            self.event_shutting_down.set()
            self.event_closed.set()
            self.new_stream_send_channel.close()

    async def open_stream(self) -> YamuxStream:
        return _quiet(await super().open_stream())

    async def accept_stream(self) -> IMuxedStream:
        stream = await super().accept_stream()
        while self._has_too_many_streams():
            await stream.reset()
            stream = await super().accept_stream()
        assert isinstance(stream, YamuxStream), "this muxer makes nothing else"
        return _quiet(stream)

    async def _write_frame(self, data: bytes) -> None:
        """As the library's, without the text of a log line for each frame."""
        async with self._write_lock:
            await self.secured_conn.write(data)

    def _living(self) -> list[BoundedYamux]:
        return [each for each in self._live if not each.event_closed.is_set()]

    def _has_too_many_streams(self) -> bool:
        mine = len(self.streams)
        living = self._living()
        share = ALL_STREAMS // max(1, len(living))
        return mine > MAX_STREAMS or (
            mine > share and sum(len(each.streams) for each in living) > ALL_STREAMS
        )

    def _has_more_than_its_share(self, held: int, coming: int) -> bool:
        living = self._living()
        return (
            held > ALL_OTHER_BYTES // max(1, len(living))
            and sum(each.other_bytes for each in living) + coming > ALL_OTHER_BYTES
        )

    async def _read_data_body(self, length: int) -> bytes:
        self._bulk &= self.stream_buffers.keys()
        held = sum(map(len, self.stream_buffers.values())) + length
        most = OTHER_BYTES + len(self._bulk) * (GRANT_BYTES + DEFAULT_WINDOW_SIZE)
        if held > most or (not self._bulk and self._has_more_than_its_share(held, length)):
            # The one error here for which the library closes the whole connection.
            raise trio.TooSlowError(f"{held} unread bytes")
        with trio.fail_after(FRAME_DEADLINE_S):
            return await self.secured_conn.read(length)


class Muxer(MuxerMultistream):
    """The library's muxer negotiation makes its own `Yamux`, whatever class it was given."""

    def __init__(self) -> None:
        super().__init__({TProtocol(PROTOCOL_ID): Yamux})
        self._live: WeakSet[BoundedYamux] = WeakSet()

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        muxed = BoundedYamux(conn, peer_id, self._live)
        return self._annotate_connection(muxed, conn, protocol)


class Pieces:
    """Unread bytes of a stream, in the pieces in which they came: what is read whole is not copied. Small ones are
    joined, because a piece of one byte takes forty."""

    def __init__(self, held: bytes | bytearray = b"") -> None:
        self._parts: deque[bytes | bytearray] = deque()
        self._size = 0
        self.extend(bytes(held))

    @property
    def count(self) -> int:
        return len(self._parts)

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)

    def __getitem__(self, part: slice) -> bytes:
        return bytes(self)[part]

    def __delitem__(self, part: slice) -> None:
        left = bytearray(bytes(self))
        del left[part]
        self.clear()
        self.extend(bytes(left))

    def extend(self, data: bytes) -> None:
        last = self._parts[-1] if self._parts else b""
        if last and len(last) + len(data) <= JOINED_BYTES:
            self._parts[-1] = last = bytearray(last) if isinstance(last, bytes) else last
            last += data
        elif data:
            self._parts.append(data)
        self._size += len(data)

    def clear(self) -> None:
        self._parts.clear()
        self._size = 0

    def pop(self, n: int) -> bytes:
        """The first piece, or its first `n` bytes where it has more."""
        first = self._parts.popleft()
        if len(first) > n:
            self._parts.appendleft(first[n:])
            first = first[:n]
        self._size -= len(first)
        return bytes(first)


class BulkReader:
    """Reads `total` bytes of one stream with the window granted ahead."""

    def __init__(self, stream: INetStream, total: int) -> None:
        self._stream = _yamux_stream(stream)
        connection = self._stream.conn
        assert isinstance(connection, BoundedYamux), "`Muxer` makes no others"
        self._pieces = connection.read_in_bulk(self._stream.stream_id)
        self._ungranted = total - self._stream.recv_window

    async def grant(self) -> None:
        """Let the writer go on; best before the request, so that it never has to stop."""
        if self._ungranted > 0 and self._stream.recv_window < GRANT_BYTES // 2:
            granted = min(self._ungranted, GRANT_BYTES)
            self._ungranted -= granted
            self._stream.recv_window += granted
            await self._stream.send_window_update(granted)

    async def read(self, n: int) -> bytes:
        """Some bytes, at most `n`, at least one. Raises `MuxedStreamError` at the end."""
        await self.grant()
        if self._pieces and not self._stream.closed:
            await trio.lowlevel.checkpoint()
            return self._pieces.pop(n)
        data = await self._stream.conn.read_stream(self._stream.stream_id, n)
        if not data:
            raise MuxedStreamError("end of stream")
        return data


class BulkWriter:
    """Writes much to one stream, in large frames."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = _yamux_stream(stream)
        connection = self._stream.conn
        assert isinstance(connection, BoundedYamux), "`Muxer` makes no others"
        self._connection = connection

    @property
    def frame_bytes(self) -> int:
        """How much is best written next."""
        return self._connection.frame_bytes

    async def write(self, data: memoryview) -> None:
        """All of it, as the reader's window allows; the deadline is the caller's."""
        stream, connection, at = self._stream, self._connection, 0
        while at < len(data):
            while stream.send_window <= 0 and not stream.closed:  # noqa: ASYNC110 - there is no event
                await trio.sleep(WINDOW_POLL_S)
            if stream.closed or stream.send_closed:
                raise MuxedStreamError("stream is closed")
            size = min(stream.send_window, connection.frame_bytes, len(data) - at)
            stream.send_window -= size
            header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, stream.stream_id, size)
            frame = b"".join((header, data[at : at + size]))
            began = trio.current_time()
            await connection._write_frame(frame)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            connection.passed(size, trio.current_time() - began)
            at += size


def _quiet(stream: YamuxStream) -> YamuxStream:
    """The library names the class of its streams in the middle of its read loop, so the class is changed afterwards,
    before anything reads."""
    stream.__class__ = QuietStream
    return stream


def _yamux_stream(stream: INetStream) -> YamuxStream:
    assert isinstance(stream, NetStream), "the swarm makes nothing else"
    assert isinstance(stream.muxed_stream, YamuxStream), "only Yamux is offered"
    return stream.muxed_stream
