"""Streams of the request-response protocols: opened with a deadline, served, and ended whatever happens.

What goes wrong has two audiences. A remote that broke the protocol is reported to `accuse`; a caller of ours learns
only that the peer was `Unreachable`, because the library raises half a dozen kinds of error that mean the same to it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.protocol_muxer.multiselect_client import MULTISELECT_PROTOCOL_ID
from libp2p.utils import encode_delim

from peers.net.host import PeerId, Unreachable
from peers.net.limits.buckets import PeerBuckets
from peers.net.limits.fair import FairBucket
from peers.net.limits.faults import ProtocolFault
from peers.net.stack.connections import Connections, raw_id
from peers.net.streams.framing import finish

_log = logging.getLogger(__name__)

ANSWER_DEADLINE_S: Final = 10.0
"""Seconds to wait for a stream, for an answer to a greeting or to a question for peers, and for the head of a blob.
Guess: where 30 % of the packets were lost each way, a message took up to 3.2 s."""

REQUESTS_S, REQUESTS_BURST = 4.0, 16.0
"""Greetings and questions for addresses that one peer may ask. Guess."""
ALL_REQUESTS_S, ALL_REQUESTS_BURST = 64.0, 256.0
"""The same for all peers together, who take turns. A greeting of a thousand entries takes some milliseconds. Guess."""
BLOB_REQUESTS_S, BLOB_REQUESTS_BURST = 16.0, 64.0
"""Blobs that one peer may ask for, here or not. Guess: a round of a hundred peers."""

StreamHandler = Callable[[INetStream, PeerId], Awaitable[None]]
Accuse = Callable[[PeerId, ProtocolFault], None]


class RequestStreams:
    """Streams of one host to and from its neighbours."""

    def __init__(self, host: IHost, connections: Connections, accuse: Accuse) -> None:
        self._host = host
        self._connections = connections
        self._accuse = accuse

    async def open(self, peer: PeerId, protocol: str) -> INetStream:
        """Raises `Unreachable`. The deadline is the caller's, and so is the end of the stream."""
        if not self._connections.is_connected(peer):
            raise Unreachable(f"{peer} is not connected")
        try:
            stream = await self._host.get_network().new_stream(raw_id(peer))
        except Exception as error:  # noqa: BLE001 - the library raises half a dozen kinds
            raise Unreachable(f"{peer}: no stream ({type(error).__name__})") from None
        agreed = False
        try:
            agreed = await _agreed(stream, protocol)
        except Exception as error:  # noqa: BLE001 - as above
            raise Unreachable(f"{peer}: no stream ({type(error).__name__})") from None
        finally:
            if not agreed:
                await finish(stream, orderly=False)
        if not agreed:
            raise Unreachable(f"{peer} does not speak {protocol}")
        return stream

    @asynccontextmanager
    async def to(self, peer: PeerId, protocol: str) -> AsyncGenerator[INetStream, None]:
        """A stream that is closed after the block or reset after an error; errors become `Unreachable`."""
        try:
            with trio.fail_after(ANSWER_DEADLINE_S):
                stream = await self.open(peer, protocol)
        except trio.TooSlowError:
            raise Unreachable(f"{peer}: no stream in {ANSWER_DEADLINE_S:g} s") from None
        orderly = False
        try:
            yield stream
            orderly = True
        except ProtocolFault as fault:
            self._accuse(peer, fault)
            raise Unreachable(f"{peer}: {fault}") from None
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise Unreachable(f"{peer}: {type(error).__name__}") from None
        finally:
            await finish(stream, orderly=orderly)

    def serve(self, protocol: str, handle: StreamHandler) -> None:
        """Answer this protocol. An exception that left a stream handler would end the whole swarm; none does."""

        async def handler(stream: INetStream) -> None:
            peer = str(stream.muxed_conn.peer_id)
            orderly = False
            try:
                await handle(stream, peer)
                orderly = True
            except ProtocolFault as fault:
                self._accuse(peer, fault)
            except Exception as error:  # noqa: BLE001 - nothing may leave: see above
                _log.debug("%s for %s ended: %s", protocol, peer, type(error).__name__)
            finally:
                await finish(stream, orderly=orderly)

        self._host.set_stream_handler(TProtocol(protocol), handler)


async def _agreed(stream: INetStream, protocol: str) -> bool:
    """Whether the other end takes this protocol on the stream.

    Both lines of multistream-select are sent at once, and are the answer of who agrees: one round trip, and a read for
    all of it, where the library takes two and reads lengths byte by byte.
    """
    lines = encode_delim(MULTISELECT_PROTOCOL_ID.encode()) + encode_delim(protocol.encode())
    await stream.write(lines)
    answer = b""
    while len(answer) < len(lines):
        part = await stream.read(len(lines) - len(answer))
        answer += part
        if not part or not lines.startswith(answer):
            return False
    stream.set_protocol(TProtocol(protocol))
    return True


class RequestBudget:
    """When the requests of others are answered: later, if one peer or all together ask too much. `run` must run."""

    def __init__(self) -> None:
        self._of_peer = PeerBuckets(rate_s=REQUESTS_S, burst=REQUESTS_BURST)
        self._of_all = FairBucket(rate_s=ALL_REQUESTS_S, burst=ALL_REQUESTS_BURST)
        self._blobs = PeerBuckets(rate_s=BLOB_REQUESTS_S, burst=BLOB_REQUESTS_BURST)

    async def run(self) -> None:
        await self._of_all.run()

    async def take(self, peer: PeerId) -> None:
        """Wait until a greeting or a question for addresses may be answered."""
        await self._of_peer.of(peer).take(1)
        await self._of_all.take(peer)

    async def take_blob(self, peer: PeerId) -> None:
        """Wait until a request for a blob may be answered."""
        await self._blobs.of(peer).take(1)

    def disconnected(self, peer: PeerId) -> None:
        self._of_peer.disconnected(peer)
        self._blobs.disconnected(peer)
