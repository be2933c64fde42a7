"""A libp2p host that speaks raw streams to a peer."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import libp2p
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as new_x25519_key
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.utils import encode_uvarint
from multiaddr import Multiaddr

from peers.identity import Identity
from support.live_networks import LOOPBACK, Member
from wire.messages import ANNOUNCE_TOPIC


class Attacker:
    """A libp2p host of its own that speaks raw streams to its victim."""

    def __init__(self, host: Any, victim: Multiaddr) -> None:
        self.host = host
        self._victim = info_from_p2p_addr(victim)

    @property
    def id(self) -> str:
        return str(self.host.get_id())

    @property
    def victim_id(self) -> Any:
        return self._victim.peer_id

    async def connect(self) -> None:
        network = self.host.get_network()
        network._negative_peer_cache.evict(str(self.victim_id))
        if not any(not c.is_closed for c in network.get_connections(self.victim_id)):
            await network.dial_addr(self._victim.addrs[0], self.victim_id)

    async def open(self, protocol: str = str(PROTOCOL_ID_V11)) -> INetStream:
        await self.connect()
        return await self.host.new_stream(self.victim_id, [TProtocol(protocol)])

    async def send(self, *parts: bytes | rpc_pb2.RPC, protocol: str = str(PROTOCOL_ID_V11)) -> INetStream:
        stream = await self.open(protocol)
        for part in parts:
            await stream.write(part if isinstance(part, bytes) else self.framed(part.SerializeToString()))
        return stream

    async def publish(self, *messages: rpc_pb2.Message) -> None:
        await self.send(rpc_pb2.RPC(publish=messages))

    @staticmethod
    def framed(data: bytes) -> bytes:
        return encode_uvarint(len(data)) + data

    @staticmethod
    def message(identity: Identity | None = None, data: bytes = b"hello", **changes: Any) -> rpc_pb2.Message:
        """A message as an honest author signs it, then changed."""
        identity = identity or Identity.generate()
        made = rpc_pb2.Message(
            data=data,
            topicIDs=[ANNOUNCE_TOPIC],
            from_id=ID.from_string(identity.peer_id).to_bytes(),
            seqno=os.urandom(8),
        )
        made.signature = identity.sign(PUBSUB_SIGNING_PREFIX.encode() + made.SerializeToString())
        for name, value in changes.items():
            if name == "topicIDs":
                del made.topicIDs[:]
                made.topicIDs.extend(value)
            else:
                setattr(made, name, value)
        return made

    @staticmethod
    def control(**entries: Any) -> rpc_pb2.RPC:
        return rpc_pb2.RPC(control=rpc_pb2.ControlMessage(**entries))


@asynccontextmanager
async def attacker_on(victim: Member) -> AsyncGenerator[Attacker, None]:
    key_pair = create_new_key_pair()
    host = libp2p.new_host(
        key_pair=key_pair,
        sec_opt={NOISE_ID: NoiseTransport(key_pair, noise_privkey=new_x25519_key().private_key)},
        muxer_preference="YAMUX",
        connection_config=ConnectionConfig(low_watermark=0, min_connections=0),
    )
    async with host.run([Multiaddr(LOOPBACK)]):
        attacker = Attacker(host, Multiaddr(victim.network.addresses[0]))
        await attacker.connect()
        yield attacker
        await host.get_network().close()
