"""Finds peers and stays connected to them.

Every few seconds: dial those whom we were told to join, and from the book as many as are missing, each with
a deadline, all at once; ask one neighbour whom it knows. A new neighbour is asked at once, so that in a net
where all join through one peer everybody is connected to everybody (up to `target_connections`) within two
or three rounds.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import trio

from peers.net.addresses import Address, AddressBook
from peers.net.config import NetworkConfig
from peers.net.host import PeerId, Unreachable
from peers.net.streams.exchange import MAX_OFFERED, usable_from, with_observed

if TYPE_CHECKING:
    from peers.net.node import HostLife

_log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.2
SAVE_S: Final = 30.0
MAX_ASKS: Final = 16
"""New neighbours waiting to be asked; the rounds ask the rest."""
MAX_DIALS: Final = 16


class Dialler:
    """The redial loop of one node, over a book that outlives it."""

    def __init__(self, node: HostLife, book: AddressBook, config: NetworkConfig) -> None:
        self._node = node
        self._book = book
        self._config = config
        self._rng = random.Random()
        self._dialling: set[PeerId] = set()
        self._new: list[PeerId] = []
        self._woken = trio.Event()
        self._pause_s = FIRST_PAUSE_S
        self._saved_at = 0.0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                self._start_dials(nursery)
                self._start_asks(nursery)
                self._node.mend()
                await self._save()
                with trio.move_on_after(self._pause_s * self._rng.uniform(1.0, 1.5)):
                    await self._woken.wait()
                self._pause_s = min(self._config.redial_s, 2 * self._pause_s)
                self._woken = trio.Event()

    def wake(self, peer: PeerId) -> None:
        """A peer connected: ask it now."""
        if len(self._new) < MAX_ASKS:
            self._new.append(peer)
        self._pause_s = FIRST_PAUSE_S
        self._woken.set()

    def lost(self, peer: PeerId) -> None:
        self._book.lost(peer, now=trio.current_time())
        self._woken.set()

    def offer(self, asker: PeerId, remote: str | None) -> list[str]:
        """Addresses of our neighbours, one or two for each, for somebody who asks from `remote`."""
        neighbours = [peer for peer in self._node.neighbours() if peer != asker]
        self._rng.shuffle(neighbours)
        found = (usable_from(remote, self._book.addresses_of(peer))[:2] for peer in neighbours)
        return [str(address) for addresses in found for address in addresses][:MAX_OFFERED]

    def heard(self, claimed: Iterable[Address], observed: str | None) -> None:
        """A neighbour says where it listens."""
        now = trio.current_time()
        for address in reversed(with_observed(claimed, observed)):
            self._book.learn(address, now=now)

    def hearsay(self, found: Iterable[Address]) -> None:
        now = trio.current_time()
        for address in found:
            self._book.learn(address, now=now)
        self._woken.set()

    def _start_dials(self, nursery: trio.Nursery) -> None:
        missing = self._config.target_connections - len(self._node.neighbours()) - len(self._dialling)
        due = self._book.due(self._is_taken, room=missing, now=trio.current_time())
        for peer in due[: MAX_DIALS - len(self._dialling)]:
            self._dialling.add(peer)
            nursery.start_soon(self._dial, peer)

    def _is_taken(self, peer: PeerId) -> bool:
        return peer in self._dialling or self._node.is_connected(peer)

    async def _dial(self, peer: PeerId) -> None:
        """Its addresses one after the other until one answers."""
        try:
            for address in self._book.addresses_of(peer):
                if self._node.is_connected(peer):
                    return
                try:
                    with trio.fail_after(self._config.dial_deadline_s):
                        await self._node.dial(address.transport, peer)
                except Exception as error:  # noqa: BLE001 - from DNS to the handshake
                    _log.debug("no answer from %s: %s", address, type(error).__name__)
                    continue
                self._book.reached(address, now=trio.current_time())
                return
            self._book.missed(peer, now=trio.current_time())
        finally:
            self._dialling.discard(peer)

    def _start_asks(self, nursery: trio.Nursery) -> None:
        neighbours = self._node.neighbours()
        asks = [peer for peer in self._new if peer in neighbours]
        self._new.clear()
        if not asks and neighbours and len(neighbours) < self._config.target_connections:
            asks.append(self._rng.choice(neighbours))
        for peer in asks:
            nursery.start_soon(self._ask, peer)

    async def _ask(self, peer: PeerId) -> None:
        try:
            await self._node.ask_for_peers(peer)
        except Unreachable as error:
            _log.debug("%s", error)

    async def _save(self) -> None:
        now = trio.current_time()
        if now - self._saved_at < SAVE_S:
            return
        self._saved_at = now
        try:
            await trio.to_thread.run_sync(self._book.save)
        except OSError as error:
            _log.warning("the address book cannot be written: %s", error)
