"""One call to a peer: connect as libp2p does, hear which network it is of, hang up.

A peer greets whoever connects to it. So nothing has to be said to learn what it has to say, its greeting is closed
without an answer, which is no fault, and it learns of no address at which to look for the caller afterwards. Gossip,
blobs and addresses of others are not offered here; asking for them ends in a refusal, which costs nobody anything.
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
from peers.net.host import PeerId, Verdict
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
"""Of what the library raised, so many are looked at."""


@dataclass(frozen=True, slots=True)
class CallGreeted:
    """The bytes of its greeting, unchecked."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CallMisspoke:
    """What it sent is not even framed as a greeting."""

    why: str


@dataclass(frozen=True, slots=True)
class CallSilent:
    """It is who it should be, and said nothing. `speaks` says whether it knows this protocol."""

    speaks: bool


@dataclass(frozen=True, slots=True)
class CallRefused:
    """No connection came about, although something listens there. `impostor` says that it has another key."""

    impostor: bool
    why: str


Call: TypeAlias = CallGreeted | CallMisspoke | CallSilent | CallRefused


async def call(identity: Identity, address: Address, *, deadline_s: float) -> Call:
    """Raises nothing that a remote can provoke."""
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
    transport = TcpTransport(max_per_address=1, max_inbound=1)
    host = make_host(identity, config, transport, welcome=lambda _: True)
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
    """Takes one greeting of `peer` and answers none. It is the `Peer` that `known.answer` asks."""

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

    def blob(self, digest: bytes) -> bytes | None:
        del digest
        return None

    def connected(self, peer: PeerId) -> None:
        """Of no interest."""

    def disconnected(self, peer: PeerId) -> None:
        """Of no interest."""

    def misbehaved(self, peer: PeerId, field: str, why: str, fine: float) -> None:
        """Of no interest."""

    def welcome(self, peer: PeerId) -> bool:
        del peer
        return True


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """What was raised and what it came from, without the groups around it; the innermost last."""
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
