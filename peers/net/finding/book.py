"""The address book: peers, where they may be reached, and which of them to dial next.

No peer is told where the others are by libp2p itself: identify speaks of one peer only, GossipSub's peer exchange is a
known way to be eclipsed and is off, and a network in which all joined through one peer stayed a star. So neighbours
tell each other (`streams/exchange.py`): each says where it listens, and each may ask any neighbour for the addresses
of that neighbour's neighbours. What is learnt this way is only a hint. Every address ends in the peer's id, and a dial
that does not find that very key there fails; `hearsay.py` bounds how often that may happen. A hint that failed is
forgotten, and no hint is saved: on disk are only addresses at which a dial has found the peer.

The book holds at most `MAX_PEERS` peers and `MAX_ADDRESSES` addresses for each, and of hints at most `MAX_HINTS` of one
informant. Where it is full, the peer that has been silent longest goes; peers that the user named never go.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from peers.net.addresses import MAX_ADDRESSES, Address, parse_multiaddress
from peers.net.finding.book_file import read_book, write_book
from peers.net.finding.hearsay import Informant
from peers.net.host import PeerId
from peers.net.limits.believable import is_dialled
from peers.net.limits.groups import group_of, is_private_group, wider_group_of

MAX_PEERS: Final = 256
"""Guess: four times the default of `max_connections`."""
FIRST_RETRY_S: Final = 2.0
LAST_RETRY_S: Final = 60.0
"""Longest pause between two dials of a peer that the user named, or that was found lately."""
RARE_AFTER, RARE_RETRY_S = 64, 600.0
"""Failures in a row, about an hour of them, after which a peer is dialled every ten minutes."""
FORGET_AFTER: Final = 208
"""Failures in a row, about a day of them, after which a peer is forgotten if this one has neighbours at the time."""
MAX_HINTS: Final = 32
"""Peers in the book that one informant named and nobody has found yet: one answer of a neighbour."""
MAX_HINTS_OF_GROUP: Final = 64
"""The same for all informants of one address group, whose identities are free."""
MAX_HINTS_AT: Final = 8
"""The same at one public address, whoever named them: as many as may connect from there."""
MAX_HINTS_AT_PRIVATE: Final = 64
"""The same at one private or loopback address: all peers of a demo share one."""


@dataclass(slots=True)
class _Entry:
    transports: list[str] = field(default_factory=list[str])
    """Newest first, after the address that answered last."""
    pinned: list[str] = field(default_factory=list[str])
    """Addresses that the user gave; they are never evicted."""
    failures: int = 0
    retry_at: float = 0.0
    heard_at: float = 0.0
    proved: bool = False
    """Whether a dial has found the peer. Addresses that are only hearsay never displace such an entry."""
    hints: dict[str, Informant] = field(default_factory=dict[str, Informant])
    """Those of the transports at which no dial has found the peer, and who named them."""


class AddressBook:
    """Peers, their addresses, and when to dial them again. `now` is in seconds on a clock of the caller's choice."""

    def __init__(
        self, own: PeerId, *, join: Iterable[str] = (), path: Path | None = None, seed: int | None = None
    ) -> None:
        """`join` holds the addresses that the user gave.

        Reads the book at `path` if there is one. A damaged book counts as empty: it holds nothing irreplaceable.
        """
        self._own = own
        self._path = path
        self._rng = random.Random(seed)
        self._entries: dict[PeerId, _Entry] = {}
        for address in map(parse_multiaddress, join):
            if address.peer != own:
                entry = self._entries.setdefault(address.peer, _Entry())
                if address.transport not in entry.pinned:
                    entry.pinned.append(address.transport)
        for address in read_book(path) if path is not None else ():
            self.learn(address, now=0.0)

    def __len__(self) -> int:
        return len(self._entries)

    def learn(
        self, address: Address, *, now: float, proved: bool = False, informant: Informant | None = None
    ) -> bool:
        """Note an address that `informant` named or (`proved`) where a dial found the peer.

        Returns whether the address was unknown and is in the book now.
        """
        if address.peer == self._own or not (proved or is_dialled(address)):
            return False
        entry = self._entries.get(address.peer)
        if entry is None:
            if informant is not None and not self._has_room_for_hint(address, informant):
                return False
            if len(self._entries) >= MAX_PEERS and not self._evict(proved=proved):
                return False
            entry = self._entries[address.peer] = _Entry(heard_at=now)
        entry.proved |= proved
        if proved:
            entry.hints.pop(address.transport, None)
        if address.transport in entry.transports or address.transport in entry.pinned:
            return False
        if len(entry.transports) >= MAX_ADDRESSES:
            if informant is not None and informant.peer != address.peer:
                return False
            oldest_hint = next((each for each in reversed(entry.transports) if each in entry.hints), None)
            self.forget(Address(address.peer, oldest_hint or entry.transports[-1]))
        entry.transports.insert(0, address.transport)
        if informant is not None:
            entry.hints[address.transport] = informant
        return True

    def informant_of(self, address: Address) -> Informant | None:
        """Who named this address, if it is only a hint."""
        entry = self._entries.get(address.peer)
        return entry.hints.get(address.transport) if entry is not None else None

    def forget(self, address: Address) -> None:
        """Drop an address, and the peer with its last one."""
        entry = self._entries.get(address.peer)
        if entry is None or address.transport not in entry.transports:
            return
        entry.transports.remove(address.transport)
        entry.hints.pop(address.transport, None)
        if not entry.transports and not entry.pinned:
            del self._entries[address.peer]

    def reached(self, address: Address, *, now: float) -> None:
        """A dial there found the peer. Only a connection that lasts (see `lost`) clears its failures."""
        self.learn(address, now=now, proved=True)
        entry = self._entries.get(address.peer)
        if entry is None:
            return
        entry.heard_at = now
        for transports in (entry.transports, entry.pinned):
            if address.transport in transports:
                transports.remove(address.transport)
                transports.insert(0, address.transport)

    def missed(self, peer: PeerId, *, now: float, alone: bool = False) -> None:
        """No address of this peer answered, or it hung up at once: wait twice as long as last time, up to a minute.

        A peer that is silent for a day is forgotten, but not by one that is `alone`: its own network may be down.
        """
        entry = self._entries.get(peer)
        if entry is None:
            return
        if entry.failures >= FORGET_AFTER and not entry.pinned and not alone:
            del self._entries[peer]
            return
        last_s = RARE_RETRY_S if entry.failures >= RARE_AFTER and not entry.pinned else LAST_RETRY_S
        wait_s = min(last_s, FIRST_RETRY_S * 2 ** min(entry.failures, 10))
        entry.failures += 1
        # Random, so that the peers of a network that was split do not all dial in the same second.
        entry.retry_at = now + wait_s * self._rng.uniform(0.75, 1.25)

    def lost(self, peer: PeerId, *, now: float) -> None:
        """A connection that had lasted ended: the peer is due at once."""
        entry = self._entries.get(peer)
        if entry is not None:
            entry.failures, entry.retry_at, entry.heard_at = 0, now, now

    def addresses_of(self, peer: PeerId) -> tuple[Address, ...]:
        """Most promising first."""
        entry = self._entries.get(peer)
        if entry is None:
            return ()
        return tuple(Address(peer, at) for at in dict.fromkeys((*entry.pinned, *entry.transports)))

    def due(self, connected: Callable[[PeerId], bool], *, room: int, now: float) -> list[PeerId]:
        """The peers to dial now: all that the user named, then at most `room` others in random order, first one of
        every /24 or /48, so that many addresses of one owner do not crowd out the others."""
        waiting = [
            peer for peer, entry in self._entries.items() if entry.retry_at <= now and not connected(peer)
        ]
        pinned = [peer for peer in waiting if self._entries[peer].pinned]
        others = [peer for peer in waiting if not self._entries[peer].pinned]
        self._rng.shuffle(others)
        places: Counter[str] = Counter()
        turns: dict[PeerId, int] = {}
        for peer in others:
            at = _wider_group_at(self._entries[peer].transports[0])
            turns[peer] = places[at]
            places[at] += 1
        others.sort(key=turns.__getitem__)
        return pinned + others[: max(0, room)]

    def save(self) -> None:
        """Write the book, atomically. Raises `OSError`."""
        if self._path is None:
            return
        known = {
            peer: [
                *(each for each in entry.transports if each not in entry.hints),
                *(entry.pinned if entry.proved else ()),
            ]
            for peer, entry in self._entries.items()
        }
        # An address that the user gave comes back from the configuration, unless it was removed there; it is worth
        # keeping only if the peer was found.
        write_book(self._path, {peer: transports for peer, transports in known.items() if transports})

    def _has_room_for_hint(self, address: Address, informant: Informant) -> bool:
        """Whether another peer may be noted on the word of this informant."""
        at = group_of(address.transport.split("/")[2])
        of_peer = of_group = there = 0
        for entry in self._entries.values():
            for transport, source in entry.hints.items():
                of_peer += source.peer == informant.peer
                of_group += source.group == informant.group
                there += group_of(transport.split("/")[2]) == at
        most_there = MAX_HINTS_AT_PRIVATE if is_private_group(at) else MAX_HINTS_AT
        return of_peer < MAX_HINTS and of_group < MAX_HINTS_OF_GROUP and there < most_there

    def _evict(self, *, proved: bool) -> bool:
        """Make room for one entry, if an entry may go: hearsay first, then most failures, then longest silence."""
        candidates = [
            peer for peer, entry in self._entries.items() if not entry.pinned and (proved or not entry.proved)
        ]
        if not candidates:
            return False

        def worth(peer: PeerId) -> tuple[bool, int, float]:
            entry = self._entries[peer]
            return entry.proved, -entry.failures, entry.heard_at

        del self._entries[min(candidates, key=worth)]
        return True


def _wider_group_at(transport: str) -> str:
    """The /24 or /48 of an address; a name stands for itself."""
    host = transport.split("/")[2]
    return wider_group_of(group_of(host)) or host
