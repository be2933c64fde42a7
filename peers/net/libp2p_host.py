"""The real network: one libp2p host (TCP, Noise, Yamux, GossipSub), supervised.

`Libp2pNetwork.run` keeps a `HostLife` alive: if the library dies of anything, the leaves of what it raised are
logged, the peer above hears that its neighbours are gone, and a new host is made on the same port after a
pause that doubles from 1 to 30 s. Meanwhile `publish` and `greet` raise `Unreachable` and `pull` raises
`PullFailed`. Services of libp2p cannot be restarted, so nothing of the old host is kept.

Of py-libp2p 0.8.1 only what was attacked in our tests is switched on. Off, with the reason of each:
plaintext and TLS (with plaintext a dialler may claim any peer id), QUIC and WebSocket, mDNS and UPnP, the
resource manager (its limits are ours, in `stack/`), identify as a client (system tasks and a
peer store fed by strangers; `exchange.py` does what we need), the automatic connector (it dials all it ever
heard of) and the dialler's fixed 250 ms head start (each dial here has one address).
"""

from __future__ import annotations

import errno
import importlib.metadata
import ipaddress
import logging
import random
import socket
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

import ifaddr
import trio
from trio import TaskStatus

from peers.identity import Identity
from peers.net.addresses import parse_listen_address
from peers.net.config import NetworkConfig
from peers.net.finding.book import AddressBook
from peers.net.guard import GuardedPeer
from peers.net.host import Link, NetworkTraffic, Peer, PeerId, PullFailed, Unreachable
from peers.net.host_life import HostLife, open_life
from peers.net.meter import TrafficMeter
from trust.errors import UserMistake
from wire.codec import MAX_FRAME_BYTES
from wire.digest import short

_log = logging.getLogger(__name__)

LIBP2P_VERSION: Final = "0.8.1"
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 30.0
STEADY_S: Final = 60.0
"""A host that lived this long resets the pause."""
MAX_LEAVES: Final = 10


class PortInUse(UserMistake):
    """Something else listens on the configured port."""


class Libp2pNetwork:
    """A `Network`. Nothing happens until `run` is started in a nursery; `open_network` does both."""

    def __init__(
        self, identity: Identity, peer: Peer, config: NetworkConfig, *, book: Path | None = None
    ) -> None:
        """`book` is where addresses of peers are kept between runs. Raises `ValueError` as the parts do."""
        _check_version()
        self._identity = identity
        self._peer = GuardedPeer(peer)
        self._config = config
        self._book = AddressBook(identity.peer_id, join=config.join, path=book)
        self._meter = TrafficMeter()
        self._life: HostLife | None = None
        self._host, self._port = parse_listen_address(config.listen)

    @property
    def peer_id(self) -> PeerId:
        return self._identity.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where others reach us; for an unspecified listen address those of the interfaces."""
        return tuple(f"{at}/p2p/{self.peer_id}" for at in _reachable(self._host, self._port))

    def neighbours(self) -> tuple[PeerId, ...]:
        return self._life.neighbours() if self._life is not None else ()

    def link(self, peer: PeerId) -> Link:
        return self._life.link(peer) if self._life is not None else Link()

    async def publish(self, frame: bytes) -> None:
        if len(frame) > MAX_FRAME_BYTES:
            raise ValueError(f"frame takes {len(frame)} bytes, limit {MAX_FRAME_BYTES}")
        await self._up().publish(frame)

    async def greet(self, peer: PeerId, greeting: bytes) -> bytes:
        return await self._up().greet(peer, greeting)

    async def pull(self, digest: bytes, size: int, sources: tuple[PeerId, ...]) -> bytes:
        if self._life is None:
            raise PullFailed(f"blob {short(digest)}: the network is down")
        return await self._life.pull(digest, size, sources)

    async def disconnect(self, peer: PeerId) -> None:
        if self._life is not None:
            await self._life.disconnect(peer)

    def traffic(self) -> NetworkTraffic:
        return self._meter.traffic

    def _up(self) -> HostLife:
        if self._life is None:
            raise Unreachable("the network is down")
        return self._life

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. The first start raises what is wrong with it; later ones are tried again."""
        _check_port_free(self._host, self._port)
        pause_s, first = FIRST_PAUSE_S, True
        while True:
            began = trio.current_time()
            leaves: list[BaseException] = []
            try:
                await self._run_life(task_status if first else trio.TASK_STATUS_IGNORED)
            except* Exception as group:  # noqa: BLE001 - a cancellation beside it goes on its way
                leaves = list(_leaves(group))
            finally:
                started = self._life is not None
                self._forget_life()
                self._save_book()
            if first and not started and leaves:
                raise leaves[0]
            first = False
            for leaf in leaves[:MAX_LEAVES]:
                # Escaped: part of the text may be a stranger's.
                _log.error("libp2p died: %s: %s", type(leaf).__name__, ascii(str(leaf))[:200])
            if trio.current_time() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            await trio.sleep(pause_s * random.uniform(0.75, 1.25))
            pause_s = min(LAST_PAUSE_S, 2 * pause_s)

    async def _run_life(self, task_status: TaskStatus[None]) -> None:
        async with open_life(
            self._identity,
            self._peer,
            self._config,
            book=self._book,
            meter=self._meter,
            own_addresses=lambda: self.addresses,
            listen=(self._host, self._port),
        ) as life:
            self._port = life.port
            self._life = life
            task_status.started()
            await trio.sleep_forever()

    def _save_book(self) -> None:
        try:
            self._book.save()
        except OSError as error:
            _log.warning("the address book cannot be written: %s", error)

    def _forget_life(self) -> None:
        life, self._life = self._life, None
        for peer in life.neighbours() if life is not None else ():
            self._peer.disconnected(peer)


@asynccontextmanager
async def open_network(
    identity: Identity, peer: Peer, config: NetworkConfig, *, book: Path | None = None
) -> AsyncGenerator[Libp2pNetwork, None]:
    """A network that is up inside the block and gone after it."""
    network = Libp2pNetwork(identity, peer, config, book=book)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        try:
            yield network
        finally:
            nursery.cancel_scope.cancel()


def _check_version() -> None:
    version = importlib.metadata.version("libp2p")
    if version != LIBP2P_VERSION:
        raise RuntimeError(
            f"libp2p {version} is installed, but this network overrides private parts of {LIBP2P_VERSION} "
            f"and was attacked with that version only: pip install libp2p=={LIBP2P_VERSION}"
        )


def _check_port_free(host: str, port: int) -> None:
    """Bind once without SO_REUSEPORT: libp2p sets it, so two peers on one port would both seem to work."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(
                    f"port {port} on {host} is taken by another program (a second peer?); "
                    "choose another listen port, or 0 for a free one"
                ) from None
            raise UserMistake(f"cannot listen on {host} port {port}: {error.strerror}") from None


def _reachable(host: str, port: int) -> list[str]:
    ip = ipaddress.ip_address(host)
    if not ip.is_unspecified:
        return [f"/ip{ip.version}/{ip}/tcp/{port}"]
    return [f"/ip{ip.version}/{found}/tcp/{port}" for found in _interfaces(ip.version)]


def _interfaces(version: int) -> list[str]:
    """This machine's addresses, loopback last (others on this machine need it)."""
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            text = address.ip if isinstance(address.ip, str) else address.ip[0]
            ip = ipaddress.ip_address(text)
            if ip.version == version and not ip.is_link_local:
                found.add(ip)
    return [str(ip) for ip in sorted(found, key=lambda ip: (ip.is_loopback, not ip.is_global, int(ip)))]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside the groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
