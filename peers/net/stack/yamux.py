"""Yamux of py-libp2p 0.8.1 with the bounds that it lacks, and faster reads and writes of bulk data.

The library warns about a remote that sends more than its window allows, and buffers it all the same; it
also lets one remote open streams without end. Here both end the connection or the stream.

Bulk: the library's `read` sends a window update for nearly every frame (each one a record of Noise and a
system call), and its `write` makes frames of 64 KiB, each of which costs about 0.2 ms of scheduling at the
two ends. A reader that knows how much will come grants the window ahead, once for each `GRANT_BYTES`, and
reads without updates; a writer of much makes frames of `FRAME_BYTES`, which any Yamux accepts.
"""

from __future__ import annotations

import logging
import struct

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
GRANT_BYTES = 4 * 2**20
"""Window granted ahead of a bulk read. Guess: enough for 20 MB/s at 200 ms of latency."""
OTHER_BYTES = 2 * 2**20
"""Room for the unread bytes of streams that are not bulk: eight full windows."""
FRAME_BYTES = 4 * MAX_PLAINTEXT_LENGTH - HEADER_SIZE
"""A frame and its header fill four records of Noise, without a fifth for a few bytes. Other streams of the
connection wait this long: a quarter of a second at 1 MB/s."""
FRAME_DEADLINE_S = 60.0
"""For the body of one frame. Guess."""
WINDOW_POLL_S = 0.001
"""Between two looks at a window that is full: the library has no event for its growth. At 100 MB/s it is 100 kB."""


class BoundedYamux(Yamux):
    """A connection that cannot be made to hold more than `max_buffered` bytes or `MAX_STREAMS`."""

    max_buffered = OTHER_BYTES

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

    async def accept_stream(self) -> IMuxedStream:
        stream = await super().accept_stream()
        while len(self.streams) > MAX_STREAMS:
            await stream.reset()
            stream = await super().accept_stream()
        return stream

    async def _read_data_body(self, length: int) -> bytes:
        held = sum(map(len, self.stream_buffers.values()))
        if held + length > self.max_buffered:
            # The one error here for which the library closes the whole connection.
            raise trio.TooSlowError(f"{held + length} unread bytes > {self.max_buffered}")
        with trio.fail_after(FRAME_DEADLINE_S):
            return await self.secured_conn.read(length)


class Muxer(MuxerMultistream):
    """The library's muxer negotiation makes its own `Yamux`, whatever class it was given."""

    def __init__(self, *, bulk_streams: int) -> None:
        """`bulk_streams` is how many `BulkReader`s one connection may have at the same time."""
        super().__init__({TProtocol(PROTOCOL_ID): BoundedYamux})
        self._max_buffered = OTHER_BYTES + bulk_streams * (GRANT_BYTES + DEFAULT_WINDOW_SIZE)

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        muxed = BoundedYamux(conn, peer_id, is_initiator=conn.is_initiator)
        muxed.max_buffered = self._max_buffered
        return self._annotate_connection(muxed, conn, protocol)


class BulkReader:
    """Reads `total` bytes of one stream with the window granted ahead."""

    def __init__(self, stream: INetStream, total: int) -> None:
        self._stream = _yamux_stream(stream)
        self._ungranted = total - DEFAULT_WINDOW_SIZE

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
        data = await self._stream.conn.read_stream(self._stream.stream_id, n)
        if not data:
            raise MuxedStreamError("end of stream")
        return data


class BulkWriter:
    """Writes much to one stream, in large frames."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = _yamux_stream(stream)

    async def write(self, data: memoryview) -> None:
        """All of it, as the reader's window allows; the deadline is the caller's."""
        stream, at = self._stream, 0
        while at < len(data):
            while stream.send_window <= 0 and not stream.closed:  # noqa: ASYNC110 - there is no event
                await trio.sleep(WINDOW_POLL_S)
            if stream.closed or stream.send_closed:
                raise MuxedStreamError("stream is closed")
            size = min(stream.send_window, FRAME_BYTES, len(data) - at)
            stream.send_window -= size
            header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, stream.stream_id, size)
            frame = b"".join((header, data[at : at + size]))
            await stream.conn._write_frame(frame)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            at += size


def _yamux_stream(stream: INetStream) -> YamuxStream:
    assert isinstance(stream, NetStream), "the swarm makes nothing else"
    assert isinstance(stream.muxed_stream, YamuxStream), "only Yamux is offered"
    return stream.muxed_stream
