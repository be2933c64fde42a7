"""Finds peers and keeps connections to them.

The dialler takes a turn at least every `REDIAL_S` seconds, or as soon as there is a reason: a new neighbour, a lost
connection, an address that was unknown. In a turn it dials the peers that the user named and, from the address book,
as many others as are missing, all at once and each with a deadline. A new neighbour is asked at once which peers it
knows, so that in a network where all join through one peer everybody is connected to everybody (up to
`target_connections`) within two or three turns.

Nothing here is woken by its own result, because such a loop has no bound but the processor. An answer leads to
dials, never to the next question: questions go to new neighbours, and else follow a clock of their own that slows
down to `LAST_ASK_S`. A connection that ended within `STEADY_S` counts as a failed dial, because a neighbour without
room accepts a connection before it closes it. Whatever happens, turns are `MIN_PAUSE_S` apart.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import trio

from peers.net.addresses import Address
from peers.net.config import NetworkConfig
from peers.net.finding.book import AddressBook
from peers.net.finding.hearsay import Hearsay, Informant
from peers.net.host import Link, PeerId, Unreachable
from peers.net.limits.believable import believed_from
from peers.net.limits.buckets import Bucket
from peers.net.limits.places import OUTBOUND_SHARE
from peers.net.stack.names import UnknownName
from peers.net.streams.exchange import MAX_OFFERED, with_observed

_log = logging.getLogger(__name__)

DIAL_DEADLINE_S: Final = 5.0
"""Seconds for one dial. A dial on loopback takes 0.02 s, over 300 ms of latency 2 s."""
REDIAL_S: Final = 2.0
"""Most seconds between two turns, plus up to half of it at random so that peers do not dial in step. Guess."""
MIN_PAUSE_S: Final = 0.05
FIRST_PAUSE_S: Final = 0.2
"""Seconds to the next turn, and to the next question, after a new neighbour. Both double from there."""
LAST_ASK_S: Final = 30.0
"""Seconds between two questions of a peer whose neighbours stay the same. Questions only repair what new neighbours
did not find out by asking, so they may be rare; each costs about 1 kB. Guess."""
STEADY_S: Final = 2.0
"""A connection that lasted this long was worth having: the peer is dialled again at once. Guess."""
SAVE_S: Final = 30.0
MAX_ASKS: Final = 16
"""New neighbours waiting to be asked; later turns ask the rest."""
MAX_DIALS: Final = 16
"""Peers dialled at the same time."""
DIALS_S, DIALS_BURST = 4.0, 32.0
"""Dials a second in all, whoever the targets are; beyond it they wait. The burst is a network of sixteen peers, each
with two addresses. Guess."""
LEAST_OUTBOUND: Final = 8
"""Connections that this host dialled itself, below which it goes on looking for peers however many have connected to
it: those are whoever wanted to. At most the quarter of the connections that is kept for them."""


class DiallerHost(Protocol):
    """What the dialler needs of a running host."""

    def neighbours(self) -> tuple[PeerId, ...]: ...

    def is_connected(self, peer: PeerId) -> bool: ...

    def link(self, peer: PeerId) -> Link: ...

    async def dial(self, transport: str, peer: PeerId) -> None:
        """Raises whatever the library raises. The deadline is the caller's."""
        ...

    async def ask_for_peers(self, peer: PeerId) -> Sequence[Address]:
        """The addresses of this neighbour's neighbours, as far as it may name them. Raises `Unreachable`."""
        ...

    def mend(self) -> None:
        """Give every neighbour a gossip stream that works."""
        ...


class Dialler:
    """The redial loop of one host, over a book that outlives it."""

    def __init__(self, host: DiallerHost, book: AddressBook, config: NetworkConfig) -> None:
        self._host = host
        self._book = book
        self._config = config
        self._hearsay = Hearsay()
        self._pace = Bucket(rate_s=DIALS_S, burst=DIALS_BURST)
        self._rng = random.Random()
        self._dialling: set[PeerId] = set()
        self._new: list[PeerId] = []
        self._told: set[str] = set()
        """Warnings about names in the user's addresses. Each is given once."""
        self._connected_at: dict[PeerId, float] = {}
        self._woken = trio.Event()
        self._pause_s = FIRST_PAUSE_S
        self._ask_pause_s = FIRST_PAUSE_S
        self._ask_at = 0.0
        self._saved_at = 0.0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                self._start_dials(nursery)
                self._start_asks(nursery)
                self._host.mend()
                await self._save()
                await self._pause()

    async def _pause(self) -> None:
        await trio.sleep(MIN_PAUSE_S)
        with trio.move_on_after(self._pause_s * self._rng.uniform(1.0, 1.5)):
            await self._woken.wait()
        self._pause_s = min(REDIAL_S, 2 * self._pause_s)
        self._woken = trio.Event()

    def connected(self, peer: PeerId) -> None:
        """A new neighbour: ask it in the next turn, which is now."""
        if len(self._new) < MAX_ASKS:
            self._new.append(peer)
        self._connected_at[peer] = trio.current_time()
        self._pause_s = self._ask_pause_s = FIRST_PAUSE_S
        self._woken.set()

    def disconnected(self, peer: PeerId) -> None:
        now = trio.current_time()
        if now - self._connected_at.pop(peer, now) < STEADY_S:
            self._book.missed(peer, now=now, alone=not self._host.neighbours())
        else:
            self._book.lost(peer, now=now)
        self._woken.set()

    def offer(self, asker: PeerId, remote: str | None) -> list[str]:
        """Addresses of our neighbours, one or two for each, for a peer that asks from `remote`."""
        neighbours = [peer for peer in self._host.neighbours() if peer != asker]
        self._rng.shuffle(neighbours)
        found = (believed_from(remote, self._book.addresses_of(peer))[:2] for peer in neighbours)
        return [str(address) for addresses in found for address in addresses][:MAX_OFFERED]

    def heard(self, peer: PeerId, claimed: Iterable[Address], observed: str | None) -> None:
        """A neighbour says where it listens."""
        self._note(reversed(with_observed(claimed, observed)), peer)

    def _note(self, addresses: Iterable[Address], informant: PeerId) -> bool:
        """Keep the hints of a neighbour that are worth it. Whether any of them was unknown."""
        now = trio.current_time()
        source = Informant(informant, self._host.link(informant).group)
        unknown = [
            self._book.learn(address, now=now, informant=source)
            for address in addresses
            if self._hearsay.believes(address, source, now)
        ]
        return any(unknown)

    def _start_dials(self, nursery: trio.Nursery) -> None:
        missing = self._missing() - len(self._dialling)
        due = self._book.due(self._is_taken, room=missing, now=trio.current_time())
        for peer in due[: MAX_DIALS - len(self._dialling)]:
            self._dialling.add(peer)
            nursery.start_soon(self._dial, peer)

    def _missing(self) -> int:
        """How many more neighbours to look for."""
        neighbours = self._host.neighbours()
        outbound = sum(self._host.link(peer).outbound for peer in neighbours)
        least = min(LEAST_OUTBOUND, self._config.max_connections // OUTBOUND_SHARE)
        return max(self._config.target_connections - len(neighbours), least - outbound)

    def _is_taken(self, peer: PeerId) -> bool:
        return peer in self._dialling or self._host.is_connected(peer)

    async def _dial(self, peer: PeerId) -> None:
        """Try its addresses in turn until one answers."""
        try:
            for address in self._book.addresses_of(peer):
                if self._host.is_connected(peer):
                    return
                informant = self._book.informant_of(address)
                if informant is not None and not self._hearsay.take(address, informant, trio.current_time()):
                    self._book.forget(address)
                    continue
                await self._pace.take(1)
                try:
                    with trio.fail_after(DIAL_DEADLINE_S):
                        await self._host.dial(address.transport, peer)
                except Exception as error:  # noqa: BLE001 - from DNS to the handshake
                    _log.debug("no answer from %s: %s", address, type(error).__name__)
                    if isinstance(error, UnknownName) and informant is None and str(error) not in self._told:
                        self._told.add(str(error))
                        _log.warning("%s", error)
                    again = informant is None or self._hearsay.failed(address, informant, trio.current_time())
                    if not again:
                        self._book.forget(address)
                    continue
                if informant is not None:
                    self._hearsay.proved(address, informant)
                self._book.reached(address, now=trio.current_time())
                return
            self._book.missed(peer, now=trio.current_time(), alone=not self._host.neighbours())
        finally:
            self._dialling.discard(peer)

    def _start_asks(self, nursery: trio.Nursery) -> None:
        now, neighbours = trio.current_time(), self._host.neighbours()
        asks = [peer for peer in self._new if peer in neighbours]
        self._new.clear()
        if not asks and neighbours and self._missing() > 0 and now >= self._ask_at:
            asks.append(self._rng.choice(neighbours))
        if asks:
            self._ask_at = now + self._ask_pause_s
            self._ask_pause_s = min(LAST_ASK_S, 2 * self._ask_pause_s)
        for peer in asks:
            nursery.start_soon(self._ask, peer)

    async def _ask(self, peer: PeerId) -> None:
        try:
            found = await self._host.ask_for_peers(peer)
        except Unreachable as error:
            _log.debug("%s", error)
            return
        if self._note(found, peer):
            self._woken.set()

    async def _save(self) -> None:
        now = trio.current_time()
        if now - self._saved_at < SAVE_S:
            return
        self._saved_at = now
        try:
            await trio.to_thread.run_sync(self._book.save)
        except OSError as error:
            _log.warning("the address book cannot be written: %s", error)
