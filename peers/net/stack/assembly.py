"""Makes a libp2p host with what this network needs and nothing else. `libp2p_host.py` says why the rest is off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import libp2p
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.network.swarm import Swarm
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID

from peers.identity import Identity
from peers.net.config import NetworkConfig
from peers.net.host import PeerId
from peers.net.limits.places import HALF_OPEN, HANDSHAKE_S
from peers.net.stack import noise
from peers.net.stack.tcp import Socket, TcpTransport
from peers.net.stack.yamux import Muxer


def make_host(
    identity: Identity,
    config: NetworkConfig,
    transport: TcpTransport,
    welcome: Callable[[PeerId], bool],
    met_itself: Callable[[str], None],
) -> BasicHost:
    """`welcome` says whether a connection with a peer may stand. `met_itself` is told the address of another host that
    has our key."""
    key_pair = create_new_key_pair(identity.seed)

    def met_own_key(connection: Socket) -> None:
        # A dial at our own address, where another peer is thought to listen, is no copy.
        if not transport.is_own(connection):
            met_itself((connection.get_remote_address() or ("", 0))[0])

    # The library refuses newcomers where it is full. Who gets a place is decided in limits/places.py, which ends
    # connections to make room, so there may be a few more for a moment.
    most = config.max_connections + HALF_OPEN
    security = noise.NoiseTransport(key_pair, welcome=welcome, seat=transport.seat, met_own_key=met_own_key)
    host = libp2p.new_host(
        key_pair=key_pair,
        sec_opt={NOISE_ID: security},
        muxer_preference="YAMUX",
        transports=[transport],
        connection_config=ConnectionConfig(
            max_connections=most,
            high_watermark=most,
            low_watermark=0,
            min_connections=0,
            inbound_upgrade_timeout=HANDSHAKE_S,
        ),
        negotiate_timeout=10,
        disable_identify_address_discovery=True,
    )
    assert isinstance(host, BasicHost), "no routing was asked for"
    host.remove_stream_handler(ID_PUSH)
    swarm = cast("Swarm", host.get_network())
    swarm.set_resource_manager(None)
    swarm.retry_config = RetryConfig(max_retries=0)
    swarm.upgrader.muxer_multistream = Muxer()
    # The library never gives its places back (see tcp.py). The limits there, and on connections, stay.
    swarm._inbound_limiter = trio.CapacityLimiter(1_000_000)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    swarm.auto_connector.maybe_connect = _do_nothing
    # Identify as a client opens a stream and a system task for each connection, to learn what we do not use.
    swarm.notifees = [notifee for notifee in swarm.notifees if type(notifee).__name__ != "_IdentifyNotifee"]
    return host


async def _do_nothing() -> None:
    await trio.lowlevel.checkpoint()


def quiet_libp2p() -> None:
    """Importing libp2p takes its loggers from us, and strangers can make it log at will. Undo both.

    This package reports what matters. One module of the library logs through the root logger's functions, which
    set up logging for the whole process on first use; it gets a logger of its own.
    """
    logger = logging.getLogger("libp2p")
    logger.propagate = True
    logger.setLevel(logging.CRITICAL)
    for name in ("libp2p.network.auto_connector", "libp2p.host.basic_host"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    swarm_connection.__dict__["logging"] = logging.getLogger(swarm_connection.__name__)
