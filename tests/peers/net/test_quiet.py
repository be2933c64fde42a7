"""What peers that have nothing to do send and compute: next to nothing, whatever their neighbours answer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio

from peers.identity import Identity
from peers.net.finding.book import AddressBook
from peers.net.host import Link
from peers.net.libp2p_host import open_network
from peers.net.stack.tcp import Socket
from support.live_networks import Together, quick
from support.networks import RecordingPeer, wait_until

WATCHED_S = 1.2


class Load:
    """Bytes and writes at the sockets of one network, and turns of its dialler, since `begin`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._bytes: Counter[int] = Counter()
        self._writes: Counter[int] = Counter()
        self._turns: Counter[int] = Counter()
        write, due = Socket.write, AddressBook.due

        async def counted_write(connection: Socket, data: bytes) -> None:
            host = id(connection._sockets)
            self._bytes[host] += len(data)
            self._writes[host] += 1
            await write(connection, data)

        def counted_due(book: AddressBook, *args: Any, **options: Any) -> list[str]:
            self._turns[id(book)] += 1
            return due(book, *args, **options)

        monkeypatch.setattr(Socket, "write", counted_write)
        monkeypatch.setattr(AddressBook, "due", counted_due)

    def begin(self) -> None:
        for counts in (self._bytes, self._writes, self._turns):
            counts.clear()

    def of(self, network: Any) -> tuple[int, int, int]:
        host = id(network._life._transport.sockets)
        return self._bytes[host], self._writes[host], self._turns[id(network._book)]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    return Load(monkeypatch)


async def settled(load: Load, networks: list[Any]) -> None:
    """Return when no peer has written anything for a while."""
    with trio.fail_after(20):
        while True:
            load.begin()
            await trio.sleep(0.4)
            if all(load.of(network)[1] == 0 for network in networks):
                return


async def test_an_idle_peer_with_three_neighbours_sends_next_to_nothing(real: Together, load: Load) -> None:
    """In a second, at most one question of its own and one from each neighbour, of about 500 bytes each."""
    with trio.fail_after(40):
        async with real(4) as members:
            networks = [member.network for member in members]
            await settled(load, networks)
            load.begin()
            began = trio.current_time()
            await trio.sleep(WATCHED_S)
            # On a busy machine the sleep takes longer than asked for.
            seconds = trio.current_time() - began
            for network in networks:
                sent_bytes, writes, turns = load.of(network)
                assert sent_bytes <= 3_000 * seconds
                assert writes <= 50 * seconds
                assert turns <= 2 + seconds / 0.3


async def test_answers_that_name_new_addresses_every_time_do_not_drive_the_dialler(
    real: Together, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour can invent addresses for ever. A few are dialled, and they do not lead to more questions."""
    with trio.fail_after(30):
        async with real(2) as (one, liar):
            asked = 0

            def invent(*args: Any) -> list[str]:
                nonlocal asked
                asked += 1
                return [f"/ip4/127.0.0.1/tcp/47123/p2p/{Identity.generate().peer_id}" for _ in range(8)]

            monkeypatch.setattr(liar.network._life._dialler, "offer", invent)
            load.begin()
            await trio.sleep(WATCHED_S)
            assert asked <= 4
            assert load.of(one.network)[2] <= 12


async def test_a_peer_that_hangs_up_at_once_is_not_dialled_in_a_loop() -> None:
    """For the dialler, a connection that ends as soon as it stands is a failed dial."""
    rude, guest = RecordingPeer(), RecordingPeer()
    connections = 0
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, open_network(Identity.generate(), rude, quick()) as host:

            def hang_up(peer: str, link: Link) -> None:
                nonlocal connections
                connections += 1
                nursery.start_soon(host.disconnect, peer)

            rude.connected = hang_up
            async with open_network(Identity.generate(), guest, quick(join=host.addresses)):
                await wait_until(lambda: connections > 0)
                await trio.sleep(WATCHED_S)
                assert connections <= 2
