"""Serving blobs on the blob protocol: a request names a digest and an offset, raw bytes follow the answer.

`wire/pull.py` has the two heads. A few blobs are served at a time (`serving.py`), and the other askers are told to come
back; each asker has a bucket that delays. The peer above decides who may have which blob; an asker that may have it
later is told to come back too, which costs no more than a look-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from libp2p.abc import INetStream

from peers.net.host import PeerId
from peers.net.limits import faults
from peers.net.limits.buckets import Bucket
from peers.net.limits.faults import ProtocolFault
from peers.net.meter import TrafficMeter
from peers.net.stack.yamux import BulkWriter
from peers.net.streams import requests
from peers.net.streams.framing import read_exactly
from peers.net.streams.serving import Serving, Transfer
from wire.errors import WireError
from wire.pull import (
    REQUEST_BYTES,
    PullResponse,
    PullStatus,
    decode_pull_request,
    encode_pull_response,
)

SERVES: Final = 8
"""Blobs served at the same time; a peer that asks beyond that is told to come back. Guess."""
WRITE_DEADLINE_S: Final = 30.0
"""For one frame. At the least rate (`blob_puller.MIN_RATE_BYTES_S`) frames are of 64 KiB and take 4 s."""


class BlobServer:
    """Answers requests on the blob protocol."""

    def __init__(
        self,
        blob: Callable[[bytes, PeerId], bytes | None],
        withholds: Callable[[bytes, PeerId], bool],
        meter: TrafficMeter,
        *,
        bucket: Callable[[PeerId], Bucket],
        group_of: Callable[[PeerId], str],
        upload_bytes_s: float,
    ) -> None:
        self._blob = blob
        self._withholds = withholds
        self._meter = meter
        self._serving = Serving(SERVES, upload_bytes_s=upload_bytes_s)
        self._bucket = bucket
        self._group_of = group_of

    async def serve(self, stream: INetStream, peer: PeerId) -> None:
        """One request. Raises `ProtocolFault`, `trio.TooSlowError` or the stream's errors; the caller resets."""
        with trio.fail_after(requests.ANSWER_DEADLINE_S):
            try:
                request = decode_pull_request(await read_exactly(stream, REQUEST_BYTES))
            except WireError as error:
                raise ProtocolFault(error.field, error.why, faults.MALFORMED) from None
        blob = self._blob(request.digest, peer)
        if blob is None:
            later = self._withholds(request.digest, peer)
            await self._say(stream, PullStatus.BUSY if later else PullStatus.NOT_HERE)
            return
        if request.offset > len(blob):
            raise ProtocolFault("pull.offset", f"{request.offset} > {len(blob)}", faults.MALFORMED)
        transfer = self._serving.place(peer, self._group_of(peer))
        if transfer is None:
            await self._say(stream, PullStatus.BUSY)
            return
        with self._serving.under_way(transfer):
            await self._send(stream, blob, request.offset, transfer)
        if transfer.scope.cancelled_caught:
            # The caller resets the stream, which is how the peer learns that the rest will not come.
            raise trio.TooSlowError("gave way to another transfer")

    async def _send(self, stream: INetStream, blob: bytes, offset: int, transfer: Transfer) -> None:
        bucket = self._bucket(transfer.peer)
        await self._say(stream, PullStatus.FOUND, len(blob))
        view, writer = memoryview(blob), BulkWriter(stream)
        at = offset
        while at < len(blob):
            piece = view[at : at + writer.frame_bytes]
            at += len(piece)
            await bucket.take(len(piece))
            with trio.fail_after(WRITE_DEADLINE_S):
                await writer.write(piece)
            transfer.sent_bytes += len(piece)
            self._meter.sent("blob", len(piece))

    async def _say(self, stream: INetStream, status: PullStatus, size: int = 0) -> None:
        with trio.fail_after(requests.ANSWER_DEADLINE_S):
            await stream.write(encode_pull_response(PullResponse(status, size)))
