"""Blobs by content id over a stream of their own: `wire/pull.py` has the two heads, then raw bytes follow.

Serving: a few at a time, the rest are told to come back; each asker has a bucket that delays. Pulling: a few
at a time and fewer from one peer; sources in turn; what one source began the next continues. Size and digest
come from a signed announcement, so a remote's numbers never decide how much memory is taken. Bytes count
only when their SHA-256 is the announced one. Whoever gave all of a wrong blob is guilty; where several gave
parts nobody can be blamed, so each is then asked for the whole.

Speed: the pieces are joined once at the end, which is one copy less than filling a buffer and freezing it;
hashing runs between reads, in pieces of at most 256 KiB (with the processor's SHA extensions 4 MB take
about 3 ms altogether; a thread would cost more than it saves).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.stream_muxer.exceptions import MuxedStreamError

from peers.net.host import PeerId, PullFailed, Unreachable
from peers.net.limits import faults
from peers.net.limits.buckets import Bucket
from peers.net.limits.faults import ProtocolFault
from peers.net.meter import TrafficMeter
from peers.net.stack.yamux import FRAME_BYTES, BulkReader, BulkWriter
from peers.net.streams.framing import finish, read_exactly
from wire.digest import short
from wire.errors import WireError
from wire.pull import (
    REQUEST_BYTES,
    RESPONSE_BYTES,
    PullRequest,
    PullResponse,
    PullStatus,
    decode_pull_request,
    decode_pull_response,
    encode_pull_request,
    encode_pull_response,
)

PULLS: Final = 8
"""Blobs fetched at the same time. Guess: enough that one slow source does not hold up the others."""
PULLS_PER_PEER: Final = 2
"""Of which from one peer; each takes `GRANT_BYTES` of memory at most while it is unread. Guess."""
SERVES: Final = 4
"""Blobs served at the same time; a peer that asks beyond that is told to come back. Guess."""
PIECE_BYTES: Final = FRAME_BYTES
MIN_RATE_BYTES_S: Final = 16_384
GRACE_S: Final = 5.0
"""A transfer must have brought `MIN_RATE_BYTES_S` for each second after these. Guess: a slow mobile link."""
WRITE_DEADLINE_S: Final = 30.0
"""For one piece; 256 KiB at the least rate take 16 s."""
BUSY_ROUNDS: Final = 5
BUSY_WAIT_S: Final = 0.2

Open = Callable[[PeerId], Awaitable[INetStream]]
Accuse = Callable[[PeerId, ProtocolFault], None]


class BlobServer:
    """Answers requests on the blob protocol."""

    def __init__(
        self,
        blob: Callable[[bytes], bytes | None],
        meter: TrafficMeter,
        *,
        at_once: int,
        bucket: Callable[[PeerId], Bucket],
        deadline_s: float,
    ) -> None:
        self._blob = blob
        self._meter = meter
        self._places = trio.Semaphore(at_once)
        self._bucket = bucket
        self._deadline_s = deadline_s

    async def serve(self, stream: INetStream, peer: PeerId) -> None:
        """One request. Raises `ProtocolFault`, `trio.TooSlowError` or the stream's errors; the caller resets."""
        with trio.fail_after(self._deadline_s):
            try:
                request = decode_pull_request(await read_exactly(stream, REQUEST_BYTES))
            except WireError as error:
                raise ProtocolFault(error.field, error.why, faults.MALFORMED) from None
        blob = self._blob(request.digest)
        if blob is None:
            await self._say(stream, PullStatus.NOT_HERE)
            return
        if request.offset > len(blob):
            raise ProtocolFault("pull.offset", f"{request.offset} > {len(blob)}", faults.MALFORMED)
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            await self._say(stream, PullStatus.BUSY)
            return
        try:
            await self._send(stream, blob, request.offset, self._bucket(peer))
        finally:
            self._places.release()

    async def _send(self, stream: INetStream, blob: bytes, offset: int, bucket: Bucket) -> None:
        await self._say(stream, PullStatus.FOUND, len(blob))
        view, writer = memoryview(blob), BulkWriter(stream)
        for start in range(offset, len(blob), PIECE_BYTES):
            piece = view[start : start + PIECE_BYTES]
            await bucket.take(len(piece))
            with trio.fail_after(WRITE_DEADLINE_S):
                await writer.write(piece)
            self._meter.sent("blob", len(piece))

    async def _say(self, stream: INetStream, status: PullStatus, size: int = 0) -> None:
        with trio.fail_after(self._deadline_s):
            await stream.write(encode_pull_response(PullResponse(status, size)))


class _Transfer:
    """What has come of one blob, and from whom."""

    def __init__(self, digest: bytes, size: int) -> None:
        self.digest = digest
        self.size = size
        self.parts: list[bytes] = []
        self.givers: set[PeerId] = set()
        self.begin()

    def begin(self) -> None:
        self.parts.clear()
        self.received = 0
        self.hasher = hashlib.sha256()
        self.givers.clear()

    def take(self, data: bytes, giver: PeerId) -> None:
        self.parts.append(data)
        self.hasher.update(data)
        self.received += len(data)
        self.givers.add(giver)

    @property
    def complete(self) -> bool:
        return self.received == self.size

    @property
    def right(self) -> bool:
        return self.hasher.digest() == self.digest


class _Failed(Exception):
    """This source did not finish; the message says why."""

    def __init__(self, why: str, *, busy: bool = False) -> None:
        super().__init__(why)
        self.busy = busy


class BlobPuller:
    """Fetches blobs from whoever has them."""

    def __init__(
        self,
        open_stream: Open,
        accuse: Accuse,
        meter: TrafficMeter,
        *,
        at_once: int,
        at_once_per_peer: int,
        max_bytes: int,
        deadline_s: float,
        grace_s: float = GRACE_S,
        rng: random.Random | None = None,
    ) -> None:
        self._open = open_stream
        self._accuse = accuse
        self._meter = meter
        self._places = trio.Semaphore(at_once)
        self._at_once_per_peer = at_once_per_peer
        self._of_peer: dict[PeerId, tuple[trio.Semaphore, int]] = {}
        self._max_bytes = max_bytes
        self._deadline_s = deadline_s
        self._grace_s = grace_s
        self._rng = rng or random.Random()

    async def pull(self, digest: bytes, size: int, sources: tuple[PeerId, ...]) -> bytes:
        """As `Network.pull`. A size is the announcer's word, so one that we refuse to hold is a failure like others."""
        if size > self._max_bytes:
            raise PullFailed(
                f"blob {short(digest)} has {size} bytes, network.max_blob_bytes is {self._max_bytes}"
            )
        async with self._places:
            transfer = _Transfer(digest, size)
            told: dict[PeerId, str] = {}
            whole = False
            waiting = list(dict.fromkeys(sources))
            for attempt in range(BUSY_ROUNDS):
                if attempt:
                    await trio.sleep(BUSY_WAIT_S * 2**attempt * self._rng.uniform(0.5, 1.0))
                busy: list[PeerId] = []
                while waiting:
                    source = waiting.pop(0)
                    if whole:
                        transfer.begin()
                    try:
                        await self._pull_from(source, transfer)
                    except _Failed as failure:
                        told[source] = str(failure)
                        if failure.busy:
                            busy.append(source)
                        continue
                    if transfer.right:
                        return b"".join(transfer.parts)
                    told[source] = "wrong bytes"
                    if transfer.givers == {source}:
                        self._accuse(source, _wrong_digest(transfer))
                    elif not whole:
                        # Parts came from several: ask each of them again, for all of it.
                        whole = True
                        waiting = list(dict.fromkeys((*transfer.givers, *waiting)))
                    transfer.begin()
                waiting = busy
                if not waiting:
                    break
        said = "; ".join(f"{source}: {why}" for source, why in told.items()) or "no sources"
        raise PullFailed(f"blob {short(digest)} of {size} bytes: {said}")

    async def _pull_from(self, source: PeerId, transfer: _Transfer) -> None:
        async with self._place_with(source):
            try:
                with trio.fail_after(self._deadline_s):
                    stream = await self._open(source)
            except (Unreachable, trio.TooSlowError):
                raise _Failed("unreachable") from None
            done = False
            try:
                await self._receive(stream, source, transfer)
                done = True
            except ProtocolFault as fault:
                self._accuse(source, fault)
                raise _Failed(f"{fault.field}: {fault.why}") from None
            except (_Failed, trio.TooSlowError) as error:
                raise error if isinstance(error, _Failed) else _Failed("no answer in time") from None
            except Exception as error:  # noqa: BLE001
                # Whatever a stream of the library raises means the same: this source is of no more use.
                raise _Failed(f"{type(error).__name__} at byte {transfer.received}") from None
            finally:
                await finish(stream, orderly=done)

    async def _receive(self, stream: INetStream, source: PeerId, transfer: _Transfer) -> None:
        offset = transfer.received
        reader = BulkReader(stream, transfer.size - offset + RESPONSE_BYTES)
        with trio.fail_after(self._deadline_s):
            await reader.grant()
            await stream.write(encode_pull_request(PullRequest(transfer.digest, offset)))
            try:
                answer = decode_pull_response(await read_exactly(stream, RESPONSE_BYTES))
            except WireError as error:
                raise ProtocolFault(error.field, error.why, faults.MALFORMED) from None
        if answer.status is not PullStatus.FOUND:
            busy = answer.status is PullStatus.BUSY
            raise _Failed("busy" if busy else "not here", busy=busy)
        if answer.size != transfer.size:
            raise ProtocolFault("blob.size", f"got {answer.size}, want {transfer.size}", faults.WRONG_BLOB)
        started = trio.current_time()
        with trio.CancelScope(deadline=started + self._grace_s) as scope:
            while not transfer.complete:
                try:
                    data = await reader.read(min(PIECE_BYTES, transfer.size - transfer.received))
                except MuxedStreamError:
                    raise _Failed(f"closed at byte {transfer.received}") from None
                transfer.take(data, source)
                self._meter.received("blob", len(data))
                scope.deadline = started + self._grace_s + (transfer.received - offset) / MIN_RATE_BYTES_S
        if scope.cancelled_caught:
            spent = trio.current_time() - started
            raise ProtocolFault(
                "blob.rate", f"{transfer.received - offset} bytes in {spent:.1f} s", faults.WITHHELD
            )

    @asynccontextmanager
    async def _place_with(self, peer: PeerId) -> AsyncGenerator[None, None]:
        """One of the few places for this peer; forgotten when nobody holds or awaits one."""
        semaphore, users = self._of_peer.get(peer) or (trio.Semaphore(self._at_once_per_peer), 0)
        self._of_peer[peer] = (semaphore, users + 1)
        try:
            async with semaphore:
                yield
        finally:
            users = self._of_peer[peer][1] - 1
            if users:
                self._of_peer[peer] = (semaphore, users)
            else:
                del self._of_peer[peer]


def _wrong_digest(transfer: _Transfer) -> ProtocolFault:
    got, want = short(transfer.hasher.digest()), short(transfer.digest)
    return ProtocolFault("blob.sha", f"got {got}, want {want}", faults.WRONG_BLOB)
