"""Networks to test on: several peers connected with each other, fake and real; an attacker, and a scene for it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import libp2p
import pytest
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
from peers.net.config import NetworkConfig
from peers.net.finding import dialler
from peers.net.gossip import pubsub, router
from peers.net.host import Network
from peers.net.libp2p_host import Libp2pNetwork, open_network
from peers.net.streams import requests
from wire.messages import ANNOUNCE_TOPIC

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


def quick(**changes: Any) -> NetworkConfig:
    """Listening on loopback."""
    return NetworkConfig(**{"listen": LOOPBACK, **changes})


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines and pauses that a test can wait for."""
    monkeypatch.setattr(dialler, "REDIAL_S", 0.3)
    monkeypatch.setattr(router, "HEARTBEAT_S", 0.3)
    monkeypatch.setattr(pubsub, "FRAME_DEADLINE_S", 2.0)


@dataclass
class Member:
    """A peer, who it is, and its network."""

    identity: Identity
    peer: Any
    network: Any

    @property
    def id(self) -> str:
        return self.identity.peer_id


Together = Callable[..., AbstractAsyncContextManager[list[Member]]]


@pytest.fixture
def quickly() -> Callable[..., NetworkConfig]:
    return quick


@pytest.fixture
def real(new_peer: Any, until: Any) -> Together:
    @asynccontextmanager
    async def together(count: int, **changes: Any) -> AsyncIterator[list[Member]]:
        """All join through the first, and the block starts when all are connected with all."""
        async with AsyncExitStack() as stack:
            members: list[Member] = []
            for _ in range(count):
                join = members[0].network.addresses if members else ()
                members.append(await _enter(stack, new_peer(), quick(join=join, **changes)))
            await until(lambda: all(len(m.network.neighbours()) == count - 1 for m in members))
            await until(lambda: all(_gossips(m.network, count - 1) for m in members))
            yield members

    return together


@pytest.fixture
def fake(new_peer: Any, hub: Any) -> Together:
    @asynccontextmanager
    async def together(count: int) -> AsyncIterator[list[Member]]:
        identities = [Identity.generate() for _ in range(count)]
        peers = [new_peer() for _ in identities]
        networks: Sequence[Network] = [hub.join(p, i.peer_id) for p, i in zip(peers, identities, strict=True)]
        yield [Member(*parts) for parts in zip(identities, peers, networks, strict=True)]

    return together


@pytest.fixture(params=["fake", "real"])
def together(request: pytest.FixtureRequest) -> Together:
    """Each implementation of `Network` in turn."""
    return request.getfixturevalue(request.param)


async def _enter(stack: AsyncExitStack, peer: Any, config: NetworkConfig) -> Member:
    identity = Identity.generate()
    network = await stack.enter_async_context(open_network(identity, peer, config))
    return Member(identity, peer, network)


def _gossips(network: Libp2pNetwork, neighbours: int) -> bool:
    """Whether every neighbour's subscription has arrived and every gossip stream is open."""
    if network._life is None:
        return False
    pubsub = network._life._pubsub
    return len(pubsub.peers) >= neighbours and sum(map(len, pubsub.peer_topics.values())) >= neighbours


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


@pytest.fixture
def attacker_on() -> Callable[[Member], AbstractAsyncContextManager[Attacker]]:
    @asynccontextmanager
    async def attacking(victim: Member) -> AsyncIterator[Attacker]:
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

    return attacking


@pytest.fixture
async def scene(
    real: Any,
    attacker_on: Any,
    until: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Victim, honest peer and attacker; the call at the end asserts that the honest one is still heard,
    that nobody else was fined, and that nothing was logged by the library at a stranger's bidding."""
    monkeypatch.setattr(pubsub, "FRAME_DEADLINE_S", 0.3)
    monkeypatch.setattr(requests, "ANSWER_DEADLINE_S", 0.5)
    async with real(2) as (victim, honest):
        victim.peer.blobs[bytes(32)] = b"three"
        async with attacker_on(victim) as attacker:

            async def still_works() -> None:
                frame = b"honest " + os.urandom(4)
                await honest.network.publish(frame)
                await until(lambda: frame in victim.peer.frames())
                back = b"answer " + os.urandom(4)
                await victim.network.publish(back)
                await until(lambda: back in honest.peer.frames())
                assert [fault for fault in victim.peer.faults if fault[0] == honest.id] == []
                assert honest.peer.faults == []
                assert [record for record in caplog.records if record.name.startswith("libp2p")] == []

            yield victim, attacker, still_works
