"""Pulling blobs by digest from the neighbours that have them. `wire/pull.py` has the two heads.

A few blobs are pulled at a time, fewer of them from one peer. Sources are asked in turn, and what one source began the
next continues. Size and digest come from a signed announcement, so a remote's numbers never decide how much memory is
taken. Bytes count only when their SHA-256 is the announced one. A source that gave all of a wrong blob is guilty; where
several gave parts nobody can be blamed, so each is then asked for the whole.

Speed: the pieces are joined once at the end, which is one copy less than filling a buffer and freezing it; hashing
runs between reads, in pieces of at most 256 KiB (with the processor's SHA extensions 4 MB take about 3 ms altogether; a
thread would cost more than it saves).
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
from peers.net.limits.faults import ProtocolFault
from peers.net.meter import TrafficMeter
from peers.net.stack.yamux import READ_BYTES, BulkReader
from peers.net.streams import requests
from peers.net.streams.framing import finish, read_exactly
from wire.digest import short
from wire.errors import WireError
from wire.pull import RESPONSE_BYTES, PullRequest, PullStatus, decode_pull_response, encode_pull_request

PULLS: Final = 8
"""Blobs pulled at the same time. Guess: enough that one slow source does not hold up the others."""
PULLS_PER_PEER: Final = 2
"""Blobs pulled from one peer at the same time. Guess: a second one uses the round trips of the first."""
MIN_RATE_BYTES_S: Final = 16_384
GRACE_S: Final = 5.0
"""A transfer must have brought `MIN_RATE_BYTES_S` for each second after these. Guess: a slow mobile link."""
BUSY_ROUNDS: Final = 5
BUSY_WAIT_S: Final = 0.2
"""Sources that were busy, or put us off until they hear of our own announcement, are asked again after this, twice as
long each time: 6 s in all."""

Open = Callable[[PeerId], Awaitable[INetStream]]
Accuse = Callable[[PeerId, ProtocolFault], None]


class _Transfer:
    """The bytes of one blob that have come so far, and from which peers."""

    def __init__(self, digest: bytes, size: int) -> None:
        self.digest = digest
        self.size = size
        self.received = 0
        self.givers: set[PeerId] = set()
        self._parts: list[bytes] = []
        self._hasher = hashlib.sha256()

    def restart(self) -> None:
        self.received = 0
        self.givers = set()
        self._parts = []
        self._hasher = hashlib.sha256()

    def take(self, data: bytes, giver: PeerId) -> None:
        self._parts.append(data)
        self._hasher.update(data)
        self.received += len(data)
        self.givers.add(giver)

    @property
    def complete(self) -> bool:
        return self.received == self.size

    def right(self) -> bool:
        return self._hasher.digest() == self.digest

    def blob(self) -> bytes:
        return b"".join(self._parts)

    def wrong_digest(self) -> ProtocolFault:
        got, want = short(self._hasher.digest()), short(self.digest)
        return ProtocolFault("blob.sha", f"got {got}, want {want}", faults.WRONG_BLOB)


class _Failed(Exception):
    """This source did not finish; the message says why."""

    def __init__(self, why: str, *, busy: bool = False) -> None:
        super().__init__(why)
        self.busy = busy


class BlobPuller:
    """Pulls blobs from the neighbours that have them."""

    def __init__(
        self,
        open_stream: Open,
        accuse: Accuse,
        meter: TrafficMeter,
        *,
        max_bytes: int,
        grace_s: float = GRACE_S,
        rng: random.Random | None = None,
    ) -> None:
        self._open = open_stream
        self._accuse = accuse
        self._meter = meter
        self._places = trio.Semaphore(PULLS)
        self._of_peer: dict[PeerId, tuple[trio.Semaphore, int]] = {}
        self._max_bytes = max_bytes
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
            # After parts of several sources made a wrong blob, each source is asked for all of it.
            whole = False
            waiting = list(dict.fromkeys(sources))
            for attempt in range(BUSY_ROUNDS):
                if attempt:
                    await trio.sleep(BUSY_WAIT_S * 2**attempt * self._rng.uniform(0.5, 1.0))
                busy: list[PeerId] = []
                while waiting:
                    source = waiting.pop(0)
                    if whole:
                        transfer.restart()
                    try:
                        await self._pull_from(source, transfer)
                    except _Failed as failure:
                        told[source] = str(failure)
                        if failure.busy:
                            busy.append(source)
                        continue
                    if transfer.right():
                        return transfer.blob()
                    told[source] = "wrong bytes"
                    if transfer.givers == {source}:
                        self._accuse(source, transfer.wrong_digest())
                    elif not whole:
                        whole = True
                        waiting = list(dict.fromkeys((*transfer.givers, *waiting)))
                    transfer.restart()
                waiting = busy
                if not waiting:
                    break
            put_off = bool(waiting)
        said = "; ".join(f"{source}: {why}" for source, why in told.items()) or "no sources"
        raise PullFailed(f"blob {short(digest)} of {size} bytes: {said}", later=put_off)

    async def _pull_from(self, source: PeerId, transfer: _Transfer) -> None:
        async with self._place_with(source):
            try:
                with trio.fail_after(requests.ANSWER_DEADLINE_S):
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
        with trio.fail_after(requests.ANSWER_DEADLINE_S):
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
                    data = await reader.read(min(READ_BYTES, transfer.size - transfer.received))
                except MuxedStreamError:
                    raise _Failed(f"closed at byte {transfer.received}") from None
                transfer.take(data, source)
                self._meter.received("blob", len(data))
                # Every byte buys time, so that a fixed deadline need not fit both 16 kB and 500 MB.
                scope.deadline = started + self._grace_s + (transfer.received - offset) / MIN_RATE_BYTES_S
        if scope.cancelled_caught:
            spent = trio.current_time() - started
            raise ProtocolFault(
                "blob.rate", f"{transfer.received - offset} bytes in {spent:.1f} s", faults.WITHHELD
            )

    @asynccontextmanager
    async def _place_with(self, peer: PeerId) -> AsyncGenerator[None, None]:
        """A place among the `PULLS_PER_PEER` of this peer. The semaphore goes with its last user."""
        semaphore, users = self._of_peer.get(peer) or (trio.Semaphore(PULLS_PER_PEER), 0)
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
