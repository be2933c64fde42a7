"""Finding each other, losing each other, restarting, ending."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import libp2p
import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.exceptions import SwarmException
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID as PLAINTEXT_ID
from libp2p.security.insecure.transport import InsecureTransport
from multiaddr import Multiaddr

from peers.identity import Identity
from peers.net import libp2p_host
from peers.net.finding import dialler
from peers.net.host import Unreachable
from peers.net.libp2p_host import Libp2pNetwork, PortInUse, open_network
from support.attacker import attacker_on
from support.live_networks import Together, quick
from support.networks import RecordingPeer, wait_until
from wire.codec import MAX_FRAME_BYTES


async def test_who_joined_through_one_are_connected_to_all(real: Together) -> None:
    with trio.fail_after(30):
        async with real(6) as members:
            assert all(len(member.network.neighbours()) == 5 for member in members)


async def test_a_peer_that_restarts_on_its_port_is_found_again() -> None:
    stays, goes = Identity.generate(), Identity.generate()
    staying, going = RecordingPeer(), RecordingPeer()
    with trio.fail_after(30):
        async with open_network(stays, staying, quick()) as network:
            async with open_network(goes, going, quick(join=network.addresses)) as first:
                await wait_until(lambda: network.neighbours() == (goes.peer_id,))
                await wait_until(lambda: network._book.addresses_of(goes.peer_id) != ())
                port = first._port
            await wait_until(lambda: network.neighbours() == ())
            # The restarted one dials nobody: the one that stayed remembers where it was.
            async with open_network(goes, RecordingPeer(), quick(listen=f"/ip4/127.0.0.1/tcp/{port}")):
                await wait_until(lambda: network.neighbours() == (goes.peer_id,))
    ups = [("up", goes.peer_id), ("down", goes.peer_id)]
    assert staying.ups_and_downs[:3] == [*ups, ("up", goes.peer_id)]


async def test_who_is_not_welcome_does_not_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialler, "REDIAL_S", 0.05)
    host, guest, friend = (Identity.generate() for _ in range(3))
    with trio.fail_after(30):
        async with open_network(host, RecordingPeer(banned={guest.peer_id}), quick()) as network:
            join = network.addresses
            async with (
                open_network(guest, RecordingPeer(), quick(join=join)) as outside,
                open_network(friend, RecordingPeer(), quick(join=join)),
            ):
                await wait_until(lambda: network.neighbours() == (friend.peer_id,))
                assert host.peer_id not in outside.neighbours()


async def test_a_host_does_not_go_deaf_after_many_connections(
    real: Together,
) -> None:
    """The library never gives an inbound place back."""
    with trio.fail_after(40):
        async with real(2, max_connections=4, target_connections=4) as (victim, honest):
            for _ in range(6):
                async with attacker_on(victim) as visitor:
                    await wait_until(lambda visitor=visitor: visitor.id in victim.network.neighbours())
                await wait_until(lambda visitor=visitor: visitor.id not in victim.network.neighbours())
            assert victim.network.neighbours() == (honest.id,)
            assert victim.network._life._transport.places.seated == 1


async def test_a_taken_port_is_named() -> None:
    with trio.fail_after(10):
        async with open_network(Identity.generate(), RecordingPeer(), quick()) as network:
            config = quick(listen=f"/ip4/127.0.0.1/tcp/{network._port}")
            with pytest.raises(BaseExceptionGroup) as caught:
                async with open_network(Identity.generate(), RecordingPeer(), config):
                    raise AssertionError("two peers on one port")
            assert caught.group_contains(PortInUse, match=f"port {network._port} on 127.0.0.1")


async def test_an_address_that_is_not_ours_is_named() -> None:
    with trio.fail_after(10):
        with pytest.raises(BaseExceptionGroup) as caught:
            async with open_network(
                Identity.generate(), RecordingPeer(), quick(listen="/ip4/192.0.2.1/tcp/0")
            ):
                raise AssertionError("this address belongs to documentation")
        assert caught.group_contains(ValueError, match=r"cannot listen on 192\.0\.2\.1 port 0")


async def test_the_end_is_quick_and_closes_the_port(real: Together) -> None:
    with trio.fail_after(30):
        async with real(4) as members:
            ports = [member.network._port for member in members]
            began = trio.current_time()
        assert trio.current_time() - began < 4 * 2
        for port in ports:
            libp2p_host._check_port_free("127.0.0.1", port)


async def test_a_host_that_dies_is_made_again(
    real: Together, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(libp2p_host, "FIRST_PAUSE_S", 0.05)
    with trio.fail_after(30):
        async with real(2) as (one, other):
            before, port = one.network._life, one.network._port

            async def die() -> None:
                raise RuntimeError("a bug\nof the library")

            with caplog.at_level(logging.ERROR, libp2p_host.__name__):
                before._swarm.manager.run_task(die)
                await wait_until(lambda: one.network._life not in (before, None))
            assert "RuntimeError: 'a bug\\nof the library'" in caplog.text
            assert one.network._port == port
            assert one.peer.ups_and_downs[:2] == [("up", other.id), ("down", other.id)]
            await wait_until(lambda: one.network.neighbours() == (other.id,))
            # What is published before the mesh has a peer is sent to nobody, and anti-entropy repairs it later.
            await wait_until(lambda: any(one.network._life._pubsub.gossip.mesh.values()))
            await one.network.publish(b"back again")
            await wait_until(lambda: b"back again" in other.peer.frames())


async def test_before_the_start_nobody_is_reachable() -> None:
    network = Libp2pNetwork(Identity.generate(), RecordingPeer(), quick())
    with pytest.raises(Unreachable):
        await network.publish(b"x")
    with pytest.raises(Unreachable):
        await network.greet("nobody", b"x")
    assert network.neighbours() == ()


async def test_the_unspecified_address_stands_for_those_of_the_interfaces() -> None:
    with trio.fail_after(10):
        async with open_network(
            Identity.generate(), RecordingPeer(), quick(listen="/ip4/0.0.0.0/tcp/0")
        ) as network:
            assert any("/ip4/127.0.0.1/" in address for address in network.addresses)
            assert not any("0.0.0.0" in address for address in network.addresses)


async def test_another_version_of_libp2p_is_refused(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(libp2p_host, "LIBP2P_VERSION", "0.9.0")
    with pytest.raises(RuntimeError, match=r"pip install libp2p==0\.9\.0"):
        Libp2pNetwork(Identity.generate(), RecordingPeer(), quick())


async def test_a_frame_over_the_limit_is_our_callers_mistake(real: Together) -> None:
    with trio.fail_after(10):
        async with real(1) as (alone,):
            with pytest.raises(ValueError, match=f"limit {MAX_FRAME_BYTES}"):
                await alone.network.publish(bytes(MAX_FRAME_BYTES + 1))


async def test_a_burst_of_announcements_arrives_whole(real: Together) -> None:
    """The library's queue holds 32 messages and drops what does not fit."""
    with trio.fail_after(20):
        async with real(2) as (author, other):
            frames = [b"%d" % i + bytes(8_000) for i in range(120)]
            for frame in frames:
                await author.network.publish(frame)
            await wait_until(lambda: len(other.peer.heard) == len(frames))
            assert sorted(other.peer.frames()) == sorted(frames)


async def test_a_dialler_that_offers_only_plaintext_is_refused(real: Together) -> None:
    """The library's default offers it, and with it a dialler may claim any peer id."""
    key_pair = create_new_key_pair()
    host = libp2p.new_host(key_pair=key_pair, sec_opt={PLAINTEXT_ID: InsecureTransport(key_pair)})
    with trio.fail_after(20):
        async with real(1) as (victim,), host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            info = info_from_p2p_addr(Multiaddr(victim.network.addresses[0]))
            with pytest.raises(SwarmException), trio.fail_after(5):
                await host.get_network().dial_addr(info.addrs[0], info.peer_id)
            assert victim.network.neighbours() == ()


async def test_neighbours_are_remembered_between_runs(tmp_path: Path) -> None:
    book = tmp_path / "peers.json"
    one, other = Identity.generate(), Identity.generate()
    with trio.fail_after(20):
        async with open_network(one, RecordingPeer(), quick()) as network:
            async with open_network(
                other, RecordingPeer(), quick(join=network.addresses), book=book
            ) as first:
                await wait_until(lambda: first._book._entries[one.peer_id].proved)
            assert one.peer_id in book.read_text()
            async with open_network(other, RecordingPeer(), quick(), book=book) as second:
                await wait_until(lambda: second.neighbours() == (one.peer_id,))
