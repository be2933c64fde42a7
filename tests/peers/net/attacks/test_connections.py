"""Attacks on connections and streams of a live host, with an honest peer that is heard during and after them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
import pytest
import trio
from libp2p.pubsub.pb import rpc_pb2

from peers.identity import Identity
from peers.net.libp2p_host import open_network
from peers.net.limits.places import HALF_OPEN, HALF_OPEN_PER_GROUP
from peers.net.stack import assembly, tcp
from peers.net.streams import blob_server, serving
from support.attacker import attacker_on
from support.live_networks import Member, Together, quick
from support.networks import RecordingPeer, wait_until
from support.sybils import stream_from
from wire.messages import BLOB_PROTOCOL

FOE = "127.0.0.66"
MOST_GROWTH_BYTES = 32 * 2**20
"""Of the whole process, attacker included. The stream alone would bring more in a second."""
STALL_S = 30.0
"""For what ends after `short_handshakes`, on a machine that stands still for seconds. Attackers send for longer."""


@asynccontextmanager
async def pair(**changes: Any) -> AsyncGenerator[tuple[Member, Member]]:
    """A victim at 127.0.0.1 and an honest peer at 127.0.0.2 that has joined it."""
    victim, honest = Identity.generate(), Identity.generate()
    at_victim, at_honest = RecordingPeer(), RecordingPeer()
    async with open_network(victim, at_victim, quick(**changes)) as network:
        config = quick(listen="/ip4/127.0.0.2/tcp/0", join=network.addresses)
        async with open_network(honest, at_honest, config) as joined:
            yield Member(victim, at_victim, network), Member(honest, at_honest, joined)


async def assert_heard(victim: Member, honest: Member) -> None:
    """An announcement of each reaches the other; the first ones may precede the gossip streams."""
    for sender, receiver in ((honest, victim), (victim, honest)):
        sent: set[bytes] = set()
        with trio.fail_after(20):
            while not sent & set(receiver.peer.frames()):
                sent.add(news := os.urandom(8))
                await sender.network.publish(news)
                await trio.sleep(0.05)
    assert [fault for fault in victim.peer.faults if fault[0] == honest.id] == []


@pytest.fixture
def short_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "HANDSHAKE_S", 2.0)
    monkeypatch.setattr(assembly, "HANDSHAKE_S", 2.0)


PRELUDES = {
    "from the start": b"",
    "after the header of multistream": b"\x13/multistream/1.0.0\n",
    "after a length of 256 MB": b"\x13/multistream/1.0.0\n\xff\xff\xff\x7f",
    "after a length of 2^63": b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "after the choice of Noise": b"\x13/multistream/1.0.0\n\x07/noise\n",
}


@pytest.mark.parametrize("prelude", PRELUDES)
@pytest.mark.parametrize("filler", [b"a", b"\xff", b"\x01\n"], ids=["letters", "ones", "lines"])
async def test_endless_data_before_authentication_ends_soon_and_is_not_stored(
    prelude: str, filler: bytes, short_handshakes: None
) -> None:
    """GHSA-hmjq-g7pp-rw3x: multistream of py-libp2p reads without a bound before the peer is known."""
    async with pair() as (victim, honest):
        stream = await stream_from(FOE, victim.network.addresses[0])
        before = peak = psutil.Process().memory_info().rss
        with trio.fail_after(STALL_S), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(PRELUDES[prelude])
            while True:
                await stream.send_all(filler * (65_536 // len(filler)))
                peak = max(peak, psutil.Process().memory_info().rss)
        assert peak - before < MOST_GROWTH_BYTES
        await wait_until(lambda: victim.network._life._transport.places.half_open == 0)
        await assert_heard(victim, honest)


async def test_a_handshake_of_one_byte_a_time_ends_with_its_deadline(short_handshakes: None) -> None:
    async with pair() as (victim, honest):
        stream = await stream_from(FOE, victim.network.addresses[0])
        with trio.fail_after(STALL_S), suppress(trio.BrokenResourceError):
            for byte in b"\x13/multistream/1.0.0\n" * 50:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.05)
        await assert_heard(victim, honest)


async def test_silent_sockets_of_one_address_and_of_many_leave_room_for_an_honest_peer() -> None:
    async with pair() as (victim, honest):
        places = victim.network._life._transport.places
        silent = [await stream_from(FOE, victim.network.addresses[0]) for _ in range(125)]
        await wait_until(lambda: places.half_open == HALF_OPEN_PER_GROUP)
        silent += [
            await stream_from(f"127.0.0.{number}", victim.network.addresses[0]) for number in range(70, 195)
        ]
        assert places.half_open <= HALF_OPEN
        await assert_heard(victim, honest)
        guest, me = RecordingPeer(), Identity.generate()
        config = quick(listen="/ip4/127.0.0.3/tcp/0", join=victim.network.addresses)
        async with open_network(me, guest, config):
            await wait_until(lambda: me.peer_id in victim.network.neighbours(), within_s=30)
        for stream in silent:
            await stream.aclose()


async def test_slow_readers_of_blobs_do_not_keep_an_honest_peer_from_its_blob(
    real: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_server, "SERVES", 2)
    monkeypatch.setattr(serving, "SERVE_GRACE_S", 0.3)
    async with real(2) as (victim, honest):
        digest = victim.peer.keep(os.urandom(1_000_000))
        async with attacker_on(victim) as attacker:
            for _ in range(4):
                await attacker.send(digest + bytes(8), protocol=BLOB_PROTOCOL)
            await trio.sleep(0.2)
            with trio.fail_after(20):
                got = await honest.network.pull(digest, 1_000_000, (victim.id,))
            assert got == victim.peer.blobs[digest]
            assert honest.peer.faults == []


async def test_a_flood_of_fresh_keys_over_one_connection_does_not_drown_an_honest_announcement(
    real: Together,
) -> None:
    async with real(2) as (victim, honest), attacker_on(victim) as attacker:
        messages = [attacker.message(data=os.urandom(32)) for _ in range(2_000)]

        async def flood() -> None:
            stream = await attacker.open()
            for at in range(0, len(messages), 50):
                rpc = rpc_pb2.RPC(publish=messages[at : at + 50])
                await stream.write(attacker.framed(rpc.SerializeToString()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for _ in range(5):
                began = trio.current_time()
                await assert_heard(victim, honest)
                assert trio.current_time() - began < 5
        await assert_heard(victim, honest)
