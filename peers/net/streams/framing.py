"""Reading frames from a stream within a deadline and a limit, and ending a stream.

The next frame may take for ever to begin. Once its first byte has come the rest must follow in time, or one byte every
two seconds would hold a reader for ever. The length is checked before anything is stored.
"""

from __future__ import annotations

import logging

import trio
from libp2p.abc import INetStream
from libp2p.network.stream.exceptions import StreamEOF

from peers.net.limits import faults
from peers.net.limits.faults import ProtocolFault

_log = logging.getLogger(__name__)

READ_BYTES = 65_536
FINISH_S = 2.0
MAX_VARINT_BYTES = 4
"""28 bits of length, more than any limit here."""


class FrameReader:
    """Frames with a varint length, as pubsub writes them."""

    def __init__(self, stream: INetStream, *, limit: int, deadline_s: float) -> None:
        self._stream = stream
        self._limit = limit
        self._deadline_s = deadline_s
        self._buffer = bytearray()

    async def read(self) -> bytes | None:
        """The next frame, None at the end. Raises `ProtocolFault`, or the stream's own errors."""
        if not self._buffer and not await self._more():
            return None
        body, needed = 0, 1
        with trio.move_on_after(self._deadline_s):
            while True:
                head = self._head()
                if head is not None:
                    body, length = head
                    needed = body + length
                    if len(self._buffer) >= needed:
                        break
                if not await self._more():
                    return None  # A peer that dies in the middle of a frame has done no wrong.
            frame = bytes(self._buffer[body:needed])
            del self._buffer[:needed]
            return frame
        raise ProtocolFault(
            "frame.deadline",
            f"{len(self._buffer)} of {needed} bytes in {self._deadline_s:g} s",
            faults.SLOW,
        )

    def _head(self) -> tuple[int, int] | None:
        """Where the body starts and how long it is, once the varint is complete."""
        length = 0
        for index, byte in enumerate(self._buffer[:MAX_VARINT_BYTES]):
            length |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                if length > self._limit:
                    raise ProtocolFault("frame.length", f"{length} > {self._limit}", faults.OVERSIZE)
                return index + 1, length
        if len(self._buffer) >= MAX_VARINT_BYTES:
            raise ProtocolFault(
                "frame.length", f"varint of more than {MAX_VARINT_BYTES} bytes", faults.OVERSIZE
            )
        return None

    async def _more(self) -> bool:
        try:
            data = await self._stream.read(READ_BYTES)
        except StreamEOF:
            return False
        self._buffer += data
        return bool(data)


async def read_exactly(stream: INetStream, size: int) -> bytes:
    """Exactly `size` bytes. Raises the stream's own errors; deadlines are the caller's."""
    buffer = bytearray()
    while len(buffer) < size:
        data = await stream.read(size - len(buffer))
        if not data:
            raise StreamEOF(f"closed after {len(buffer)} of {size} bytes")
        buffer += data
    return bytes(buffer)


async def finish(stream: INetStream, *, orderly: bool) -> None:
    """Close or reset the stream. Shielded: a stream that is only forgotten keeps its place on the connection."""
    with trio.move_on_after(FINISH_S, shield=True):
        try:
            if orderly:
                await stream.close()
            else:
                await stream.reset()
        except Exception as error:  # noqa: BLE001 - the stream is gone; the library says so in many ways
            _log.debug("a stream was already gone: %s", type(error).__name__)
