"""Connections of one libp2p host: which peers are connected, and how connections begin and end.

The library may hold several connections with one peer at the same time, as when both dial at once. A neighbour is a
peer with at least one open connection, and only its first and last are reported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, cast

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

from peers.net.host import Link, PeerId
from peers.net.limits.groups import group_of
from peers.net.stack.noise import NoiseSession

_log = logging.getLogger(__name__)

CLOSE_S: Final = 1.0
"""Seconds for the polite end of a connection: a peer that reads nothing cannot be told goodbye."""


class Connections(INotifee):
    """The neighbours of one swarm. `on_up` and `on_down` are called in the library's own tasks."""

    def __init__(
        self, swarm: Swarm, *, on_up: Callable[[PeerId], None], on_down: Callable[[PeerId], None]
    ) -> None:
        self._swarm = swarm
        self._on_up = on_up
        self._on_down = on_down
        self._connected: set[PeerId] = set()
        swarm.register_notifee(self)

    def neighbours(self) -> tuple[PeerId, ...]:
        return tuple(sorted(self._connected))

    def is_connected(self, peer: PeerId) -> bool:
        return peer in self._connected

    def remote_of(self, peer: PeerId) -> str | None:
        """The IP address that this peer comes from."""
        for connection in self._swarm.get_connections(raw_id(peer)):
            remote = cast("Yamux", connection.muxed_conn).get_remote_address()
            if remote is not None:
                return remote[0]
        return None

    def link(self, peer: PeerId) -> Link:
        """How this peer is connected. If one of several connections is outbound, it counts."""
        inbound = Link()
        for connection in self._swarm.get_connections(raw_id(peer)):
            muxed = cast("Yamux", connection.muxed_conn)
            remote = muxed.get_remote_address()
            link = Link(group=group_of(remote[0]) if remote else "", outbound=muxed.is_initiator)
            if link.outbound:
                return link
            inbound = link
        return inbound

    async def dial(self, transport: str, peer: PeerId) -> None:
        """Raises whatever the library raises. The deadline is the caller's."""
        # Not `dial_peer`: it waits 250 ms for a second address even after the first has answered.
        await self._swarm.dial_addr(Multiaddr(f"{transport}/p2p/{peer}"), raw_id(peer))

    async def disconnect(self, peer: PeerId) -> None:
        """Close all connections with this peer, politely for `CLOSE_S` seconds and by force after that."""
        if peer in self._connected:
            async with trio.open_nursery() as nursery:
                for connection in self._swarm.get_connections(raw_id(peer)):
                    nursery.start_soon(_close, connection)

    # What the swarm reports. An exception that leaves a notifee would end the swarm.

    async def connected(self, network: INetwork, conn: INetConn) -> None:  # noqa: ARG002
        peer = str(conn.muxed_conn.peer_id)
        if peer in self._connected:
            if self._is_open(conn.muxed_conn.peer_id, besides=conn):
                return
            # The peer is back before the end of its old connection was noticed.
            self._on_down(peer)
        self._connected.add(peer)
        self._on_up(peer)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:  # noqa: ARG002
        peer = str(conn.muxed_conn.peer_id)
        if peer not in self._connected or self._is_open(conn.muxed_conn.peer_id):
            return
        self._connected.discard(peer)
        self._on_down(peer)

    def _is_open(self, peer: ID, *, besides: INetConn | None = None) -> bool:
        connections = self._swarm.get_connections(peer)
        return any(not connection.is_closed for connection in connections if connection is not besides)

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Not used."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Not used."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Not used."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Not used."""


def raw_id(peer: PeerId) -> ID:
    return ID.from_string(peer)


async def _close(connection: INetConn) -> None:
    """Shielded, because a close that is cancelled half way never reports the end of the connection."""
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
