"""TCP below libp2p: large reads, writes that are never torn, sockets that notice a dead link, limits by address.

What py-libp2p 0.8.1 leaves to be done here, all measured or read in its source:
- a record of Noise costs two or more reads of the socket (2 bytes of length, then pieces of the body), each
  15 to 20 us in trio; one buffered read of 256 KiB replaces them;
- `send_all` that is cancelled half way leaves half a record on the wire, after which the whole session is
  noise: writes here finish or the socket is closed;
- without TCP_USER_TIMEOUT a dead link is not noticed at all, with 15 s it is noticed after 15.3 s;
- the task that accepted a connection waits for the end of the host, not of the connection, and holds its
  place in the inbound limit meanwhile: after as many inbound connections as the limit, ever, the host is
  deaf. The scope around it ends with the connection.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import sys
from collections.abc import Callable

import trio
from libp2p.abc import IRawConnection
from libp2p.custom_types import THandler
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.tcp.tcp import TCP, TCPListener
from multiaddr import Multiaddr

from peers.net.addresses import parse_listen_address
from peers.net.config import NetworkConfig
from peers.net.host import PeerId
from peers.net.limits.groups import group_of
from peers.net.limits.places import HANDSHAKE_S, Places, Ticket
from peers.net.stack.names import resolved
from wire.bounded import BoundedDict

MAX_DIALLED_PORTS = 256
READ_BYTES = 256 * 1024
WRITE_DEADLINE_S = 15.0
"""A peer that takes nothing off the wire for this long is gone. Same as the user timeout."""
USER_TIMEOUT_MS = 15_000
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 10, 5, 3
UNSENT_BYTES = 128 * 1024
"""trio sets TCP_NOTSENT_LOWAT to 16 KiB, which wakes a bulk sender four times for every record."""


class Socket(ReadWriteCloser):
    """One TCP connection, as libp2p wants it. Reads may return less than asked, writes never do."""

    def __init__(self, stream: trio.SocketStream, sockets: set[Socket]) -> None:
        self._stream = stream
        self._sockets = sockets
        self._remote: tuple[str, int] | None = None
        self.barrier: trio.CancelScope | None = None
        self.ticket: Ticket | None = None
        """Its place among the inbound connections; None for one that this host dialled."""
        sockets.add(self)
        _set_options(stream.socket)

    async def read(self, n: int | None = None) -> bytes:
        """Some bytes, at most `n`; empty at the end."""
        try:
            return await self._stream.receive_some(READ_BYTES if n is None else n)
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError(f"reset by remote: {error}", transport="tcp") from error
        except trio.ClosedResourceError:
            return b""

    async def write(self, data: bytes) -> None:
        """All of it, or the socket is closed; a cancelled task finishes its write first.

        One writer at a time: Yamux holds a lock around every frame. A lock here would be one more place to
        be cancelled at, between the encryption of a record and its sending.
        """
        try:
            with trio.CancelScope(deadline=trio.current_time() + WRITE_DEADLINE_S, shield=True) as scope:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(f"closed while writing: {error}", transport="tcp") from error
        if scope.cancelled_caught:
            self.abort()
            raise ConnectionClosedError(f"nothing taken for {WRITE_DEADLINE_S} s", transport="tcp")

    def ends(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """(our address, the remote's), None for a socket that is closed."""
        try:
            ours, theirs = self._stream.socket.getsockname(), self._stream.socket.getpeername()
        except OSError:
            return None
        return (str(ours[0]), int(ours[1])), (str(theirs[0]), int(theirs[1]))

    def abort(self) -> None:
        """Close at once, without waiting for anything."""
        self._stream.socket.close()
        self._sockets.discard(self)
        if self.barrier is not None:
            self.barrier.cancel()

    async def close(self) -> None:
        self.abort()
        await trio.lowlevel.checkpoint()

    def get_remote_address(self) -> tuple[str, int] | None:
        if self._remote is None:
            try:
                name = self._stream.socket.getpeername()
            except OSError:
                return None
            self._remote = (str(name[0]), int(name[1]))
        return self._remote


class TcpTransport(TCP):
    """libp2p's TCP with our sockets, limits on inbound connections, and a way to close everything."""

    def __init__(self, config: NetworkConfig, *, standing: Callable[[PeerId], float]) -> None:
        """`standing` says what a connection with a peer has proven to be worth."""
        super().__init__(dns_max_retries=1)
        self.sockets: set[Socket] = set()
        self._dialled_at: BoundedDict[int, float] = BoundedDict(MAX_DIALLED_PORTS)
        """Port -> when it was last dialled, at any address."""
        self._listen = ipaddress.ip_address(parse_listen_address(config.listen)[0])
        self.places = Places(
            max_connections=config.max_connections,
            max_per_address=config.max_per_address,
            outbound=lambda: sum(each.ticket is None for each in self.sockets),
            standing=standing,
        )

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        """Names are those of the system: /etc/hosts, mDNS, DNS. Raises `UnknownName`, and as the library does."""
        self._dialled_at.renew(int(str(maddr.value_for_protocol("tcp"))), trio.current_time())
        failed: Exception | None = None
        for address in await resolved(maddr):
            try:
                return await self._dial_address(address)
            except Exception as error:  # noqa: BLE001  the next address of the name may answer
                failed = error
        assert failed is not None, "a name that is known has an address"
        raise failed

    async def _dial_address(self, maddr: Multiaddr) -> IRawConnection:
        if self._dials_from_listen_address(maddr):
            connection = await super().dial_with_source(maddr, (str(self._listen), 0))
        else:
            connection = await super().dial(maddr)
        if isinstance(connection, RawConnection) and isinstance(connection.stream, TrioTCPStream):
            connection.stream = Socket(connection.stream.stream, self.sockets)
        return connection

    def create_listener(self, handler_function: THandler) -> TCPListener:
        async def accepted(stream: ReadWriteCloser) -> None:
            assert isinstance(stream, TrioTCPStream), "TCPListener hands over nothing else"
            await self._accept(stream.stream, handler_function)

        return TCPListener(accepted)

    async def _accept(self, stream: trio.SocketStream, handler: THandler) -> None:
        connection = Socket(stream, self.sockets)
        address, now = (connection.get_remote_address() or ("", 0))[0], trio.current_time()
        ticket = connection.ticket = self.places.knock(group_of(address), connection.abort, now)
        if ticket is None:
            connection.abort()
            return
        try:
            with trio.CancelScope(deadline=now + HANDSHAKE_S) as connection.barrier:
                await handler(connection)
        finally:
            connection.abort()
            self.places.leave(ticket)

    def is_own(self, inbound: Socket) -> bool:
        """Whether this host itself is at the other end: one of its dials has just the opposite ends. A router between
        them rewrites addresses, so a dial of the last seconds to our own port counts too."""
        ends = inbound.ends()
        if ends is None:
            return True
        (_, port), _ = ends
        if trio.current_time() - self._dialled_at.get(port, -math.inf) < HANDSHAKE_S:
            return True
        return any(each.ends() == ends[::-1] for each in self.sockets if each.ticket is None)

    def seat(self, connection: Socket, peer: PeerId) -> bool:
        """Whether this connection, whose handshake proved `peer`, may go on. May end another one."""
        if connection.ticket is None:
            return True
        if not self.places.seat(connection.ticket, peer, trio.current_time()):
            return False
        if connection.barrier is not None:
            connection.barrier.deadline = math.inf
        return True

    def _dials_from_listen_address(self, maddr: Multiaddr) -> bool:
        """A host that listens at one address dials from it, so that others see it come from where they find it."""
        protocol = next(iter(maddr.protocols()), None)
        if self._listen.is_unspecified or protocol is None or protocol.name != f"ip{self._listen.version}":
            return False
        target = ipaddress.ip_address(str(maddr.value_for_protocol(protocol.code)))
        return target.is_loopback == self._listen.is_loopback

    def abort_all(self) -> None:
        for connection in tuple(self.sockets):
            connection.abort()


def _set_options(sock: trio.socket.SocketType) -> None:
    options: list[tuple[int, int, int]] = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ]
    if sys.platform == "linux":
        options += [
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT),
            (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES),
        ]
    for level, name, value in options:
        try:
            sock.setsockopt(level, name, value)
        except OSError:  # The other end may be gone already; the next read says so.
            return
