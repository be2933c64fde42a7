"""The address book: peers, where they may be reached, and which of them to dial next.

No peer is told where the others are by libp2p itself: identify speaks of one peer only, GossipSub's peer exchange is a
known way to be eclipsed and is off, and a network in which all joined through one peer stayed a star. So neighbours
tell each other (`streams/exchange.py`): each says where it listens, and each may ask any neighbour for the addresses
of that neighbour's neighbours. What is learnt this way is only a hint. Every address ends in the peer's id, and a dial
that does not find that very key there fails, so a liar can waste a few dials and nothing else.

The book holds at most `MAX_PEERS` peers and `MAX_ADDRESSES` addresses for each. Where it is full, the peer that has
been silent longest goes; peers that the user named never go.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from peers.net.addresses import MAX_ADDRESSES, Address, parse_multiaddress
from peers.net.host import PeerId
from trust.files import write_whole

MAX_PEERS: Final = 256
"""Guess: four times the default of `max_connections`."""
FIRST_RETRY_S: Final = 2.0
LAST_RETRY_S: Final = 60.0
_MAX_BOOK_BYTES: Final = 2**20
"""Twice what `MAX_PEERS` peers with `MAX_ADDRESSES` of the longest addresses each can take on disk."""


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
        if path is not None:
            self._read(path)

    def __len__(self) -> int:
        return len(self._entries)

    def learn(self, address: Address, *, now: float, proved: bool = False) -> bool:
        """Note an address that a neighbour named or (`proved`) where a dial found the peer.

        Returns whether the address was unknown and is in the book now.
        """
        if address.peer == self._own:
            return False
        entry = self._entries.get(address.peer)
        if entry is None:
            if len(self._entries) >= MAX_PEERS and not self._evict(proved=proved):
                return False
            entry = self._entries[address.peer] = _Entry(heard_at=now)
        entry.proved |= proved
        if address.transport in entry.transports or address.transport in entry.pinned:
            return False
        entry.transports.insert(0, address.transport)
        del entry.transports[MAX_ADDRESSES:]
        return True

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

    def missed(self, peer: PeerId, *, now: float) -> None:
        """No address of this peer answered, or it hung up at once: wait twice as long as last time, up to a minute."""
        entry = self._entries.get(peer)
        if entry is None:
            return
        wait_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(entry.failures, 10))
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
        """The peers to dial now: all that the user named, then at most `room` others in random order."""
        waiting = [
            peer for peer, entry in self._entries.items() if entry.retry_at <= now and not connected(peer)
        ]
        pinned = [peer for peer in waiting if self._entries[peer].pinned]
        others = [peer for peer in waiting if not self._entries[peer].pinned]
        self._rng.shuffle(others)
        return pinned + others[: max(0, room)]

    def save(self) -> None:
        """Write the book, atomically. Raises `OSError`."""
        if self._path is None:
            return
        known = {
            peer: [*entry.transports, *(entry.pinned if entry.proved else ())]
            for peer, entry in self._entries.items()
        }
        # An address that the user gave comes back from the configuration, unless it was removed there; it is worth
        # keeping only if the peer was found.
        peers = {peer: transports for peer, transports in known.items() if transports}
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = json.dumps({"v": 1, "peers": peers}, indent=1).encode("ascii")
        write_whole(self._path, lambda file: file.write(data), durable=True)

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

    def _read(self, path: Path) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            if path.stat().st_size > _MAX_BOOK_BYTES:
                return
            peers = cast("object", json.loads(path.read_text(encoding="ascii"))["peers"])
            if not isinstance(peers, dict):
                return
            for peer, transports in cast("dict[object, object]", peers).items():
                if not isinstance(peer, str) or not isinstance(transports, list):
                    continue
                for transport in reversed(cast("list[object]", transports)):
                    with suppress(ValueError):
                        self.learn(parse_multiaddress(f"{transport}/p2p/{peer}"), now=0.0)
