"""One life of a libp2p host: from its making to its end. `libp2p_host.py` makes a new one when it dies."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.custom_types import TProtocol
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from peers.identity import Identity
from peers.net.addresses import Address, AddressBook
from peers.net.config import NetworkConfig
from peers.net.dialler import Dialler
from peers.net.host import Peer, PeerId, Unreachable
from peers.net.limits.buckets import Bucket
from peers.net.limits.faults import ProtocolFault
from peers.net.meter import TrafficMeter
from peers.net.pubsub import SafeGossipSub, SafePubsub
from peers.net.stack.assembly import make_host, quiet_libp2p
from peers.net.stack.noise import NoiseSession
from peers.net.stack.tcp import TcpTransport
from peers.net.streams import exchange
from peers.net.streams import greetings as known
from peers.net.streams.blobs import PULLS, PULLS_PER_PEER, SERVES, BlobPuller, BlobServer
from peers.net.streams.framing import finish
from wire.messages import ANNOUNCE_TOPIC, BLOB_PROTOCOL, KNOWN_PROTOCOL

_log = logging.getLogger(__name__)

ANSWER_DEADLINE_S: Final = 10.0
"""Seconds to wait for an answer to a greeting, a question for peers or the head of a blob. Guess."""
UPLOAD_BURST_BYTES: Final = 64_000_000
"""Blob bytes that one peer may take at once before `upload_bytes_s` counts. Guess: sixteen updates of 4 MB."""
REQUESTS_S, REQUESTS_BURST = 4.0, 16.0
"""Greetings and questions for addresses that one peer may ask. Guess."""
HALF_OPEN: Final = 32
"""Inbound connections beyond the limit that may be in their handshake, which ends within 10 s. Guess."""
DRAIN_S: Final = 0.3
"""At the end, for announcements that are on their way out."""
CLOSE_S: Final = 1.0
PUBLISH_WAIT_S: Final = 2.0
MAX_BUCKETS: Final = 1_024

StreamHandler = Callable[[INetStream, PeerId], Awaitable[None]]


class HostLife(INotifee):
    """A host, its gossip, its blobs and its diallers, while they live."""

    def __init__(
        self,
        identity: Identity,
        peer: Peer,
        config: NetworkConfig,
        book: AddressBook,
        meter: TrafficMeter,
        own_addresses: Callable[[], Sequence[str]],
    ) -> None:
        quiet_libp2p()
        self._peer = peer
        self._config = config
        self._meter = meter
        self._own_addresses = own_addresses
        self._connected: set[PeerId] = set()
        self._uploads: dict[PeerId, Bucket] = {}
        self._requests: dict[PeerId, Bucket] = {}
        self._transport = TcpTransport(
            max_per_address=config.max_per_address, max_inbound=config.max_connections + HALF_OPEN
        )
        self._host = make_host(identity, config, self._transport, peer.welcome, bulk_streams=PULLS_PER_PEER)
        self._swarm = cast("Swarm", self._host.get_network())
        self._swarm.register_notifee(self)
        self._pubsub = SafePubsub(
            self._host,
            SafeGossipSub(),
            topic=ANNOUNCE_TOPIC,
            judge=peer.hear,
            accuse=self.accuse,
            drop=self._drop,
            meter=meter,
        )
        self._server = BlobServer(
            peer.blob,
            meter,
            at_once=SERVES,
            bucket=self._upload_bucket,
            deadline_s=ANSWER_DEADLINE_S,
        )
        self._puller = BlobPuller(
            lambda source: self.open_stream(source, BLOB_PROTOCOL),
            self.accuse,
            meter,
            at_once=PULLS,
            at_once_per_peer=PULLS_PER_PEER,
            max_bytes=config.max_blob_bytes,
            deadline_s=ANSWER_DEADLINE_S,
        )
        self._dialler = Dialler(self, book, config)
        self._nursery: trio.Nursery | None = None
        self._handle(BLOB_PROTOCOL, self._server.serve)
        self._handle(KNOWN_PROTOCOL, self._serve_known)
        self._handle(exchange.PEERS_PROTOCOL, self._serve_peers)

    @asynccontextmanager
    async def running(self, host: str, port: int) -> AsyncGenerator[int, None]:
        """Up inside the block; the value is the port. Raises `ValueError` where it cannot listen."""
        listen = Multiaddr(f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}")
        async with (
            self._host.run([listen]),
            background_trio_service(self._pubsub),
            background_trio_service(self._pubsub.gossip),
        ):
            bound = self._host.get_transport_addrs()
            if not bound:  # libp2p logs it and goes on deaf.
                raise ValueError(f"cannot listen on {host} port {port}")
            await self._pubsub.wait_until_ready()
            await self._pubsub.subscribe(ANNOUNCE_TOPIC)
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._dialler.run)
                    yield int(str(bound[0].value_for_protocol("tcp")))
                    self._nursery.cancel_scope.cancel()
            finally:
                self._nursery = None
                await self._shut()

    async def _shut(self) -> None:
        """What is queued goes out, then sockets close at once: the library closes them one in 0.2 s."""
        with trio.move_on_after(CLOSE_S, shield=True):
            with trio.move_on_after(DRAIN_S):
                while not self._pubsub.drained:  # noqa: ASYNC110 - the library's queues have no event
                    await trio.sleep(0.01)
            for listener in tuple(self._swarm.listeners.values()):
                await listener.close()
        self._transport.abort_all()

    # What the network offers.

    def neighbours(self) -> tuple[PeerId, ...]:
        return tuple(sorted(self._connected))

    def is_connected(self, peer: PeerId) -> bool:
        return peer in self._connected

    async def publish(self, frame: bytes) -> None:
        with trio.move_on_after(PUBLISH_WAIT_S):
            # The library's queues drop what does not fit, so wait for room.
            while self._pubsub.congested:  # noqa: ASYNC110 - as above
                await trio.sleep(0.002)
        await self._pubsub.publish(ANNOUNCE_TOPIC, frame)
        await trio.lowlevel.checkpoint()

    async def greet(self, peer: PeerId, greeting: bytes) -> bytes:
        async with self.stream_to(peer, KNOWN_PROTOCOL) as stream:
            return await known.ask(stream, greeting, self._meter, deadline_s=ANSWER_DEADLINE_S)

    async def pull(self, digest: bytes, size: int, sources: tuple[PeerId, ...]) -> bytes:
        return await self._puller.pull(digest, size, sources)

    async def disconnect(self, peer: PeerId) -> None:
        """Politely, and after a second otherwise: who reads nothing cannot be told goodbye."""
        if peer in self._connected:
            async with trio.open_nursery() as nursery:
                for connection in self._swarm.get_connections(_id(peer)):
                    nursery.start_soon(_close, connection)

    # Streams.

    async def open_stream(self, peer: PeerId, protocol: str) -> INetStream:
        """Raises `Unreachable`. The deadline is the caller's."""
        if peer not in self._connected:
            raise Unreachable(f"{peer} is not connected")
        try:
            return await self._host.new_stream(_id(peer), [TProtocol(protocol)])
        except Exception as error:  # noqa: BLE001 - the library raises half a dozen kinds
            raise Unreachable(f"{peer}: no stream ({type(error).__name__})") from None

    @asynccontextmanager
    async def stream_to(self, peer: PeerId, protocol: str) -> AsyncGenerator[INetStream, None]:
        """A stream that is closed after the block or reset after an error; errors become `Unreachable`."""
        try:
            with trio.fail_after(ANSWER_DEADLINE_S):
                stream = await self.open_stream(peer, protocol)
        except trio.TooSlowError:
            raise Unreachable(f"{peer}: no stream in {ANSWER_DEADLINE_S:g} s") from None
        orderly = False
        try:
            yield stream
            orderly = True
        except ProtocolFault as fault:
            self.accuse(peer, fault)
            raise Unreachable(f"{peer}: {fault}") from None
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise Unreachable(f"{peer}: {type(error).__name__}") from None
        finally:
            await finish(stream, orderly=orderly)

    def _handle(self, protocol: str, serve: StreamHandler) -> None:
        """An exception that leaves a stream handler ends the whole swarm: none leaves this one."""

        async def handler(stream: INetStream) -> None:
            peer = str(stream.muxed_conn.peer_id)
            orderly = False
            try:
                await serve(stream, peer)
                orderly = True
            except ProtocolFault as fault:
                self.accuse(peer, fault)
            except Exception as error:  # noqa: BLE001 - nothing may leave: see above
                _log.debug("%s for %s ended: %s", protocol, peer, type(error).__name__)
            finally:
                await finish(stream, orderly=orderly)

        self._host.set_stream_handler(TProtocol(protocol), handler)

    async def _serve_known(self, stream: INetStream, peer: PeerId) -> None:
        await self._request_bucket(peer).take(1)
        await known.answer(stream, self._peer, peer, self._meter, deadline_s=ANSWER_DEADLINE_S)

    async def _serve_peers(self, stream: INetStream, peer: PeerId) -> None:
        await self._request_bucket(peer).take(1)
        remote = self.remote_of(peer)
        offered = self._dialler.offer(peer, remote)
        claimed = await exchange.answer(stream, peer, offered, deadline_s=ANSWER_DEADLINE_S)
        self._dialler.heard(claimed, remote)

    def _upload_bucket(self, peer: PeerId) -> Bucket:
        return _bucket(self._uploads, peer, self._config.upload_bytes_s, UPLOAD_BURST_BYTES)

    def _request_bucket(self, peer: PeerId) -> Bucket:
        return _bucket(self._requests, peer, REQUESTS_S, REQUESTS_BURST)

    # For the dialler.

    async def dial(self, transport: str, peer: PeerId) -> None:
        """Raises whatever the library raises. The deadline is the caller's."""
        # Not `dial_peer`: it waits 250 ms for a second address even after the first has answered.
        await self._swarm.dial_addr(Multiaddr(f"{transport}/p2p/{peer}"), _id(peer))

    async def ask_for_peers(self, peer: PeerId) -> list[Address]:
        """The addresses of this neighbour's neighbours. Raises `Unreachable`."""
        async with self.stream_to(peer, exchange.PEERS_PROTOCOL) as stream:
            return await exchange.ask(stream, self._own_addresses(), deadline_s=ANSWER_DEADLINE_S)

    def remote_of(self, peer: PeerId) -> str | None:
        """The IP address that this peer comes from."""
        for connection in self._swarm.get_connections(_id(peer)):
            remote = cast("Yamux", connection.muxed_conn).get_remote_address()
            if remote is not None:
                return remote[0]
        return None

    def mend(self) -> None:
        for peer in self._connected:
            self._pubsub.mend(_id(peer))

    # Faults and connections.

    def accuse(self, peer: PeerId, fault: ProtocolFault) -> None:
        self._peer.misbehaved(peer, fault.field, fault.why, fault.fine)

    def _drop(self, peer: PeerId) -> None:
        if self._nursery is not None:
            with suppress(RuntimeError):  # The nursery is closing, and all connections with it.
                self._nursery.start_soon(self.disconnect, peer)

    async def connected(self, network: INetwork, conn: INetConn) -> None:  # noqa: ARG002
        peer = str(conn.muxed_conn.peer_id)
        if peer in self._connected:
            if self._is_open(conn.muxed_conn.peer_id, besides=conn):
                return
            # It is back before we noticed that it had gone.
            self._peer.disconnected(peer)
        self._connected.add(peer)
        self._peer.connected(peer)
        self._dialler.connected(peer)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:  # noqa: ARG002
        peer = str(conn.muxed_conn.peer_id)
        if peer not in self._connected or self._is_open(conn.muxed_conn.peer_id):
            return
        self._connected.discard(peer)
        self._peer.disconnected(peer)
        self._dialler.disconnected(peer)
        for buckets in (self._uploads, self._requests):
            if peer in buckets and buckets[peer].full:
                del buckets[peer]

    def _is_open(self, peer: ID, *, besides: INetConn | None = None) -> bool:
        connections = self._swarm.get_connections(peer)
        return any(not connection.is_closed for connection in connections if connection is not besides)

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Of no interest."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Of no interest."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Of no interest."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Of no interest."""


async def _close(connection: INetConn) -> None:
    """Shielded: a close that is cancelled half way never reports the end of the connection."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_abort, connection)
            try:
                await connection.close()
            except Exception as error:  # noqa: BLE001 - it was closing by itself
                _log.debug("closing: %s", type(error).__name__)
            nursery.cancel_scope.cancel()


async def _abort(connection: INetConn) -> None:
    session = cast("Yamux", connection.muxed_conn).secured_conn
    assert isinstance(session, NoiseSession), "only Noise is offered"
    await trio.sleep(CLOSE_S)
    session.abort()


def _bucket(buckets: dict[PeerId, Bucket], peer: PeerId, rate_s: float, burst: float) -> Bucket:
    if peer not in buckets:
        if len(buckets) >= MAX_BUCKETS:
            del buckets[next(iter(buckets))]
        buckets[peer] = Bucket(rate_s=rate_s, burst=burst)
    return buckets[peer]


def _id(peer: PeerId) -> ID:
    return ID.from_string(peer)
