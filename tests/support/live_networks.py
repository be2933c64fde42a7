"""Several peers that are connected with each other, by the real network on loopback or by a fake one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from peers.identity import Identity
from peers.net.config import NetworkConfig
from peers.net.host import Network
from peers.net.libp2p_host import Libp2pNetwork, open_network
from support.networks import Hub, RecordingPeer, wait_until

LOOPBACK = "/ip4/127.0.0.1/tcp/0"

Together = Callable[..., AbstractAsyncContextManager[list["Member"]]]


def quick(**changes: Any) -> NetworkConfig:
    """Listening on loopback."""
    return replace(NetworkConfig(listen=LOOPBACK), **changes)


@dataclass
class Member:
    """A peer, who it is, and its network."""

    identity: Identity
    peer: RecordingPeer
    network: Any

    @property
    def id(self) -> str:
        return self.identity.peer_id


@asynccontextmanager
async def real_networks(count: int, **changes: Any) -> AsyncGenerator[list[Member], None]:
    """All join through the first, and the block starts when all are connected with all."""
    async with AsyncExitStack() as stack:
        members: list[Member] = []
        for _ in range(count):
            join = members[0].network.addresses if members else ()
            members.append(await _enter(stack, RecordingPeer(), quick(join=join, **changes)))
        await wait_until(lambda: all(len(m.network.neighbours()) == count - 1 for m in members))
        await wait_until(lambda: all(gossips(m.network, count - 1) for m in members))
        yield members


@asynccontextmanager
async def fake_networks(hub: Hub, count: int) -> AsyncGenerator[list[Member], None]:
    identities = [Identity.generate() for _ in range(count)]
    peers = [RecordingPeer() for _ in identities]
    networks: Sequence[Network] = [hub.join(p, i.peer_id) for p, i in zip(peers, identities, strict=True)]
    yield [Member(*parts) for parts in zip(identities, peers, networks, strict=True)]


async def _enter(stack: AsyncExitStack, peer: RecordingPeer, config: NetworkConfig) -> Member:
    identity = Identity.generate()
    network = await stack.enter_async_context(open_network(identity, peer, config))
    return Member(identity, peer, network)


def gossips(network: Libp2pNetwork, neighbours: int) -> bool:
    """Whether every neighbour's subscription has arrived and every gossip stream is open."""
    if network._life is None:
        return False
    pubsub = network._life._pubsub
    return len(pubsub.peers) >= neighbours and sum(map(len, pubsub.peer_topics.values())) >= neighbours
