"""A thousand identities on one machine against a live host: an honest peer gets in, and is heard all the while."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from peers.identity import Identity
from peers.net.libp2p_host import Libp2pNetwork, open_network
from support.live_networks import quick
from support.networks import RecordingPeer, wait_until
from support.sybils import Sybils

HONEST = "/ip4/127.0.0.2/tcp/0"
"""An address of its own: a host dials from where it listens."""


@asynccontextmanager
async def besieged(
    *sources: str, identities: int
) -> AsyncGenerator[tuple[Libp2pNetwork, RecordingPeer, Sybils]]:
    """A host whose places a thousand identities have taken, as far as they can, and keep asking for."""
    peer = RecordingPeer()
    async with open_network(Identity.generate(), peer, quick()) as network, trio.open_nursery() as nursery:
        sybils = Sybils(network.addresses[0], sources)
        nursery.start_soon(sybils.run, identities)
        await wait_until(lambda: sybils.holding >= 25, within_s=30)
        yield network, peer, sybils
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "sources",
    [("127.0.0.66",), tuple(f"127.0.0.{number}" for number in range(100, 140))],
    ids=["one address", "forty addresses"],
)
async def test_an_honest_peer_joins_while_a_thousand_identities_hold_what_they_can(
    sources: tuple[str, ...],
) -> None:
    guest, me = RecordingPeer(), Identity.generate()
    async with besieged(*sources, identities=1_000) as (network, host, _):
        began = trio.current_time()
        async with open_network(me, guest, quick(listen=HONEST, join=network.addresses)) as joined:
            await wait_until(lambda: me.peer_id in network.neighbours(), within_s=30)
            with trio.fail_at(began + 30):
                for _ in range(5):
                    await assert_heard(network, host, joined, guest)
            assert host.links[me.peer_id].group == "v4:127.0.0.2"
            assert [fault for fault in host.faults if fault[0] == me.peer_id] == []
            assert len(network.neighbours()) <= 64


async def assert_heard(
    network: Libp2pNetwork, host: RecordingPeer, joined: Libp2pNetwork, guest: RecordingPeer
) -> None:
    """Announcements of each of the two reach the other one; the first ones may precede the gossip streams."""
    for sender, receiver in ((joined, host), (network, guest)):
        sent: set[bytes] = set()
        while not sent & set(receiver.frames()):
            sent.add(news := os.urandom(8))
            await sender.publish(news)
            await trio.sleep(0.1)
