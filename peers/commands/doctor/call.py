"""A call to a peer for `gossipllm doctor`: connect over libp2p, take its greeting, hang up.

A peer sends a greeting on each new connection, so the caller says nothing. It closes the greeting without an answer,
which is no fault, and gives no address at which the peer would look for it afterwards. The caller offers no gossip, no
blobs and no addresses of other peers; a request for them is refused, at no cost to either side.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from multiaddr import Multiaddr

from peers.identity import Identity
from peers.net.addresses import Address
from peers.net.config import NetworkConfig
from peers.net.host import Link, PeerId, Verdict
from peers.net.limits.faults import ProtocolFault
from peers.net.meter import TrafficMeter
from peers.net.stack.assembly import make_host, quiet_libp2p
from peers.net.stack.tcp import TcpTransport
from peers.net.streams import greetings as known
from peers.net.streams.framing import finish
from wire.messages import KNOWN_PROTOCOL

_log = logging.getLogger(__name__)

GREETING_S: Final = 4.0
"""Seconds to wait for a greeting. A peer greets at once when it has a model; on loopback that takes 0.05 s."""
_LEAVES: Final = 20
"""Exceptions that are looked at in a chain of causes, so that a cycle ends. Guess."""


@dataclass(frozen=True, slots=True)
class CallGreeted:
    """The peer sent a greeting: its bytes, unchecked."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CallMisspoke:
    """The peer sent something that is not framed as a greeting."""

    why: str


@dataclass(frozen=True, slots=True)
class CallSilent:
    """The peer has the right key but sent no greeting. `speaks` says whether it knows the protocol."""

    speaks: bool


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The handshake failed, although something listens at the address. `impostor` says that it has another key."""

    impostor: bool
    why: str


Call: TypeAlias = CallGreeted | CallMisspoke | CallSilent | CallRefused


async def call(identity: Identity, address: Address, *, deadline_s: float) -> Call:
    """Call the peer at `address`. Raises nothing that a remote can provoke."""
    quiet_libp2p()
    found: Call | None = None
    with trio.move_on_after(deadline_s):
        try:
            found = await _called(identity, address)
        except* Exception as group:  # noqa: BLE001  the library raises half a dozen kinds, a cancellation goes on
            leaves = list(_leaves(group))
            impostor = any(isinstance(leaf, PeerIDMismatchesPubkey) for leaf in leaves)
            found = CallRefused(impostor, type(leaves[-1]).__name__)
    return found or CallRefused(impostor=False, why=f"not done in {deadline_s:g} s")


async def _called(identity: Identity, address: Address) -> Call:
    config = NetworkConfig()
    transport = TcpTransport(config, standing=lambda _: 0.0)
    host = make_host(identity, config, transport, welcome=lambda _: True, met_itself=lambda _: None)
    listener = _Listener(address.peer)
    host.set_stream_handler(TProtocol(KNOWN_PROTOCOL), listener.serve)
    swarm = cast("Swarm", host.get_network())
    async with host.run([]):
        try:
            await swarm.dial_addr(
                Multiaddr(f"{address.transport}/p2p/{address.peer}"), ID.from_string(address.peer)
            )
            with trio.move_on_after(GREETING_S):
                await listener.done.wait()
            return listener.heard or CallSilent(await _speaks(host, address))
        finally:
            transport.abort_all()


async def _speaks(host: BasicHost, address: Address) -> bool:
    stream = None
    try:
        with trio.fail_after(GREETING_S):
            stream = await host.new_stream(ID.from_string(address.peer), [TProtocol(KNOWN_PROTOCOL)])
    except Exception as error:  # noqa: BLE001  as above
        _log.debug("no stream: %s", type(error).__name__)
        return False
    finally:
        if stream is not None:
            await finish(stream, orderly=False)
    return True


class _Listener:
    """Takes a greeting of `peer` and sends none. It plays the `Peer` for `known.answer`."""

    def __init__(self, peer: PeerId) -> None:
        self._peer = peer
        self.heard: CallGreeted | CallMisspoke | None = None
        self.done = trio.Event()

    async def serve(self, stream: INetStream) -> None:
        """Nothing may leave a stream handler: it would end the swarm."""
        try:
            await known.answer(stream, self, self._peer, TrafficMeter(), deadline_s=GREETING_S)
        except ProtocolFault as fault:
            self.heard = CallMisspoke(str(fault))
        except Exception as error:  # noqa: BLE001  the stream went, or the remote was slow
            _log.debug("a greeting ended: %s", type(error).__name__)
        finally:
            await finish(stream, orderly=False)
        if self.heard is not None:
            self.done.set()

    def greeted(self, greeting: bytes, via: PeerId) -> bytes | None:
        del via
        self.heard = CallGreeted(greeting)
        return None

    def hear(self, frame: bytes, via: PeerId) -> Verdict:
        del frame, via
        return Verdict.IGNORE

    def blob(self, digest: bytes, asker: PeerId) -> bytes | None:
        del digest, asker
        return None

    def withholds(self, digest: bytes, asker: PeerId) -> bool:
        del digest, asker
        return False

    def connected(self, peer: PeerId, link: Link) -> None:
        """The doctor does not need this event."""

    def disconnected(self, peer: PeerId) -> None:
        """The doctor does not need this event."""

    def misbehaved(self, peer: PeerId, field: str, why: str, fine: float) -> None:
        """The doctor does not need this event."""

    def welcome(self, peer: PeerId) -> bool:
        del peer
        return True

    def standing(self, peer: PeerId) -> float:
        del peer
        return 0.0


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in `error` and their causes, without the groups around them; the innermost last."""
    waiting: list[BaseException] = [error]
    for _ in range(_LEAVES):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", one).exceptions
            continue
        yield one
        behind = one.__cause__ or one.__context__
        waiting += [] if behind is None else [behind]
