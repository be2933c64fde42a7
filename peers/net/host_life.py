"""One life of a libp2p host: its parts, wired together, from listening to its end.

`libp2p_host.py` begins a new life when one ends, because services of the library cannot be restarted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

import trio
from libp2p.abc import INetStream
from libp2p.network.swarm import Swarm
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from peers.identity import Identity
from peers.net.addresses import Address
from peers.net.config import NetworkConfig
from peers.net.finding.book import AddressBook
from peers.net.finding.dialler import Dialler
from peers.net.gossip.pubsub import SafePubsub
from peers.net.gossip.router import SafeGossipSub
from peers.net.host import Link, Peer, PeerId
from peers.net.limits.believable import believed_from
from peers.net.limits.buckets import PeerBuckets
from peers.net.limits.faults import ProtocolFault
from peers.net.meter import TrafficMeter
from peers.net.stack.assembly import make_host, quiet_libp2p
from peers.net.stack.connections import Connections, raw_id
from peers.net.stack.tcp import TcpTransport
from peers.net.streams import exchange, greetings, requests
from peers.net.streams.blob_puller import BlobPuller
from peers.net.streams.blob_server import BlobServer
from peers.net.streams.requests import RequestBudget, RequestStreams
from wire.messages import ANNOUNCE_TOPIC, BLOB_PROTOCOL, KNOWN_PROTOCOL

UPLOAD_BURST_BYTES: Final = 64_000_000
"""Blob bytes that one peer may take at once before `upload_bytes_s` counts. Guess: sixteen updates of 4 MB."""
DRAIN_S: Final = 0.3
"""Seconds at the end for announcements that are on their way out."""
CLOSE_S: Final = 1.0
PUBLISH_WAIT_S: Final = 2.0
"""Seconds that an announcement waits for room in the library's queues before it is handed over all the same."""


class HostLife:
    """A host that is up, with its gossip, its blobs and its dialler. `open_life` makes it."""

    def __init__(
        self,
        identity: Identity,
        peer: Peer,
        config: NetworkConfig,
        book: AddressBook,
        meter: TrafficMeter,
        own_addresses: Callable[[], Sequence[str]],
        nursery: trio.Nursery,
    ) -> None:
        """`nursery` outlives the host; tasks that end connections run in it."""
        self._me = identity.peer_id
        self._peer = peer
        self._meter = meter
        self._own_addresses = own_addresses
        self._nursery = nursery
        self._uploads = PeerBuckets(rate_s=config.upload_bytes_s, burst=UPLOAD_BURST_BYTES)
        self._requests = RequestBudget()
        self._transport = TcpTransport(config, standing=peer.standing)
        self._host = make_host(identity, config, self._transport, peer.welcome, self._met_itself)
        self._swarm = cast("Swarm", self._host.get_network())
        self._connections = Connections(self._swarm, on_up=self._connected, on_down=self._disconnected)
        self._streams = RequestStreams(self._host, self._connections, self._accuse)
        self._pubsub = SafePubsub(
            self._host,
            SafeGossipSub(),
            topic=ANNOUNCE_TOPIC,
            judge=peer.hear,
            accuse=self._accuse,
            drop=self._drop,
            meter=meter,
        )
        self._server = BlobServer(
            peer.blob,
            peer.withholds,
            meter,
            bucket=self._uploads.of,
            group_of=lambda asker: self.link(asker).group,
            upload_bytes_s=config.upload_bytes_s,
        )
        self._puller = BlobPuller(
            lambda source: self._streams.open(source, BLOB_PROTOCOL),
            self._accuse,
            meter,
            max_bytes=config.max_blob_bytes,
        )
        self._dialler = Dialler(self, book, config)
        self._streams.serve(BLOB_PROTOCOL, self._serve_blob)
        self._streams.serve(KNOWN_PROTOCOL, self._serve_known)
        self._streams.serve(exchange.PEERS_PROTOCOL, self._serve_peers)

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncGenerator[None, None]:
        """Up inside the block; `open_life` is the way to it. Raises `ValueError` where it cannot listen."""
        listen = Multiaddr(f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}")
        async with (
            self._host.run([listen]),
            background_trio_service(self._pubsub),
            background_trio_service(self._pubsub.gossip),
        ):
            if not self._host.get_transport_addrs():  # The library logs it and goes on deaf.
                raise ValueError(f"cannot listen on {host} port {port}")
            await self._pubsub.wait_until_ready()
            await self._pubsub.subscribe(ANNOUNCE_TOPIC)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._dialler.run)
                    nursery.start_soon(self._requests.run)
                    nursery.start_soon(self._pubsub.checks.run)
                    yield
                    nursery.cancel_scope.cancel()
            finally:
                await self._shut()

    async def _shut(self) -> None:
        """Send what is queued, then close all sockets at once: the library takes 0.2 s for each."""
        with trio.move_on_after(CLOSE_S, shield=True):
            with trio.move_on_after(DRAIN_S):
                while not self._pubsub.drained:  # noqa: ASYNC110 - the library's queues have no event
                    await trio.sleep(0.01)
            for listener in tuple(self._swarm.listeners.values()):
                await listener.close()
        self._transport.abort_all()

    # What the network offers.

    @property
    def port(self) -> int:
        return int(str(self._host.get_transport_addrs()[0].value_for_protocol("tcp")))

    def neighbours(self) -> tuple[PeerId, ...]:
        return self._connections.neighbours()

    def link(self, peer: PeerId) -> Link:
        return self._connections.link(peer)

    async def publish(self, frame: bytes) -> None:
        with trio.move_on_after(PUBLISH_WAIT_S):
            # The library's queues drop what does not fit, so wait for room.
            while self._pubsub.congested:  # noqa: ASYNC110 - as above
                await trio.sleep(0.002)
        await self._pubsub.publish(ANNOUNCE_TOPIC, frame)
        await trio.lowlevel.checkpoint()

    async def greet(self, peer: PeerId, greeting: bytes) -> bytes:
        async with self._streams.to(peer, KNOWN_PROTOCOL) as stream:
            deadline_s = requests.ANSWER_DEADLINE_S
            return await greetings.ask(stream, greeting, self._meter, deadline_s=deadline_s)

    async def pull(self, digest: bytes, size: int, sources: tuple[PeerId, ...]) -> bytes:
        return await self._puller.pull(digest, size, sources)

    async def disconnect(self, peer: PeerId) -> None:
        await self._connections.disconnect(peer)

    # What the host answers.

    async def _serve_blob(self, stream: INetStream, peer: PeerId) -> None:
        await self._requests.take_blob(peer)
        await self._server.serve(stream, peer)

    async def _serve_known(self, stream: INetStream, peer: PeerId) -> None:
        await self._requests.take(peer)
        deadline_s = requests.ANSWER_DEADLINE_S
        await greetings.answer(stream, self._peer, peer, self._meter, deadline_s=deadline_s)

    async def _serve_peers(self, stream: INetStream, peer: PeerId) -> None:
        await self._requests.take(peer)
        remote = self._connections.remote_of(peer)
        offered = self._dialler.offer(peer, remote)
        claimed = await exchange.answer(stream, peer, offered, deadline_s=requests.ANSWER_DEADLINE_S)
        self._dialler.heard(peer, claimed, remote)

    # What the dialler needs: `finding.dialler.Host`.

    def is_connected(self, peer: PeerId) -> bool:
        return self._connections.is_connected(peer)

    async def dial(self, transport: str, peer: PeerId) -> None:
        await self._connections.dial(transport, peer)

    async def ask_for_peers(self, peer: PeerId) -> list[Address]:
        async with self._streams.to(peer, exchange.PEERS_PROTOCOL) as stream:
            deadline_s = requests.ANSWER_DEADLINE_S
            told = await exchange.ask(stream, self._own_addresses(), deadline_s=deadline_s)
        return believed_from(self._connections.remote_of(peer), told)

    def mend(self) -> None:
        for peer in self._connections.neighbours():
            self._pubsub.mend(raw_id(peer))

    # Faults and connections.

    def _accuse(self, peer: PeerId, fault: ProtocolFault) -> None:
        self._peer.misbehaved(peer, fault.field, fault.why, fault.fine)

    def _met_itself(self, where: str) -> None:
        self._peer.misbehaved(self._me, "identity", where, 0.0)

    def _drop(self, peer: PeerId) -> None:
        with suppress(RuntimeError):  # The nursery is closing, and all connections with it.
            self._nursery.start_soon(self.disconnect, peer)

    def _connected(self, peer: PeerId) -> None:
        self._peer.connected(peer, self.link(peer))
        self._dialler.connected(peer)

    def _disconnected(self, peer: PeerId) -> None:
        self._peer.disconnected(peer)
        self._dialler.disconnected(peer)
        self._uploads.disconnected(peer)
        self._requests.disconnected(peer)


@asynccontextmanager
async def open_life(
    identity: Identity,
    peer: Peer,
    config: NetworkConfig,
    *,
    book: AddressBook,
    meter: TrafficMeter,
    own_addresses: Callable[[], Sequence[str]],
    listen: tuple[str, int],
) -> AsyncGenerator[HostLife, None]:
    """A host that listens inside the block. Raises `ValueError` where it cannot listen."""
    quiet_libp2p()
    async with trio.open_nursery() as nursery:
        life = HostLife(identity, peer, config, book, meter, own_addresses, nursery)
        async with life.listening(*listen):
            yield life
        nursery.cancel_scope.cancel()
