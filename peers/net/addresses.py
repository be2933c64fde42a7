"""Where peers can be reached: parsing, the book on disk, and which of them to dial next.

No peer is told where the others are by libp2p itself: identify speaks of one peer only, GossipSub's peer
exchange is a known way to be eclipsed and is off, and a net in which all joined through one peer stayed a
star. So neighbours tell each other (`exchange.py`): each says where it listens, and each may ask any
neighbour for the addresses of that neighbour's neighbours. What is learnt this way is only a hint. Every
address ends in the peer's id, and a dial that does not find that very key there fails, so a liar can waste
a few dials and nothing else.

The book holds at most `MAX_PEERS` peers and `MAX_ADDRESSES` addresses for each. Where it is full, whoever
has been silent longest goes; the peers that this device was told to join never go.
"""

from __future__ import annotations

import ipaddress
import json
import random
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from peers.identity import public_key_of
from peers.net.host import PeerId
from trust.files import write_whole

MAX_PEERS: Final = 256
MAX_ADDRESSES: Final = 8
MAX_CHARACTERS: Final = 256
_MAX_BOOK_BYTES: Final = 2**20
FIRST_RETRY_S: Final = 2.0
LAST_RETRY_S: Final = 60.0
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Address:
    """A peer and one place where it may listen."""

    peer: PeerId
    transport: str
    """Without the peer: `/ip4/192.0.2.1/tcp/4001`."""

    def __str__(self) -> str:
        return f"{self.transport}/p2p/{self.peer}"


def parse_multiaddress(text: str) -> Address:
    """An address that can be dialled: `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT/p2p/12D3...`.

    Raises `ValueError` with one line that says what is wrong. Case and spelling are made canonical.
    """
    shown = ascii(text[:MAX_CHARACTERS])
    transport, mark, peer = text.partition("/p2p/")
    if not mark:
        raise ValueError(f"address must end in /p2p/ and a peer id, got {shown}")
    try:
        public_key_of(peer)
    except ValueError as error:
        raise ValueError(f"address {shown}: {error}") from None
    kind, host, port = _split(transport, shown)
    if port == 0:
        raise ValueError(f"address {shown}: port must be in 1..65535, got 0")
    if kind in ("ip4", "ip6") and ipaddress.ip_address(host).is_unspecified:
        raise ValueError(f"address {shown}: {host} is where to listen, not where to dial")
    return Address(peer, f"/{kind}/{host}/tcp/{port}")


def parse_listen_address(text: str) -> tuple[str, int]:
    """IP address and port of `/ip4|ip6/ADDRESS/tcp/PORT`; port 0 for any. Raises `ValueError`."""
    shown = ascii(text[:MAX_CHARACTERS])
    kind, host, port = _split(text, shown)
    if kind not in ("ip4", "ip6"):
        raise ValueError(f"listen address must start with /ip4/ or /ip6/, got {shown}")
    return host, port


def _split(transport: str, shown: str) -> tuple[str, str, int]:
    parts = transport.split("/")
    if len(transport) > MAX_CHARACTERS or len(parts) != 5 or parts[0] or parts[3] != "tcp":
        raise ValueError(f"address must look like /ip4/192.0.2.1/tcp/4001, got {shown}")
    kind, host, port = parts[1], parts[2], parts[4]
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"address {shown}: port must be in 0..65535, got {port!a}")
    if kind in ("ip4", "ip6"):
        try:
            parsed = ipaddress.IPv4Address(host) if kind == "ip4" else ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"address {shown}: {host!a} is no {kind} address") from None
        host = str(parsed)
    elif kind not in ("dns", "dns4", "dns6"):
        raise ValueError(f"address must start with /ip4/, /ip6/ or /dns/, got {shown}")
    elif len(host) > 253 or not _HOST_NAME.fullmatch(host):
        raise ValueError(f"address {shown}: {host!a} is no host name")
    return kind, host, int(port)


@dataclass(slots=True)
class _Entry:
    transports: list[str] = field(default_factory=list[str])
    """Newest first; the one that answered last comes first of all."""
    pinned: list[str] = field(default_factory=list[str])
    """Given by the user; kept whatever happens."""
    failures: int = 0
    retry_at: float = 0.0
    heard_at: float = 0.0
    proved: bool = False
    """A dial has found the peer; hearsay never displaces it."""


class AddressBook:
    """Peers, where they were, and when to try them again. Times are the caller's, in seconds."""

    def __init__(
        self, own: PeerId, *, join: Iterable[str] = (), path: Path | None = None, seed: int | None = None
    ) -> None:
        """Reads `path` if there is a book; a damaged one counts as empty. It holds nothing irreplaceable."""
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
        """Whom to dial now: those to join first, then at most `room` others, at random."""
        waiting = [
            peer for peer, entry in self._entries.items() if entry.retry_at <= now and not connected(peer)
        ]
        pinned = [peer for peer in waiting if self._entries[peer].pinned]
        others = [peer for peer in waiting if not self._entries[peer].pinned]
        self._rng.shuffle(others)
        return pinned + others[: max(0, room)]

    def save(self) -> None:
        """Atomic. A book that cannot be written is not worth stopping for: `OSError` is the caller's."""
        if self._path is None:
            return
        known = {
            peer: [*entry.transports, *(entry.pinned if entry.proved else ())]
            for peer, entry in self._entries.items()
        }
        peers = {peer: transports for peer, transports in known.items() if transports}
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = json.dumps({"v": 1, "peers": peers}, indent=1).encode("ascii")
        write_whole(self._path, lambda file: file.write(data), durable=True)

    def _evict(self, *, proved: bool) -> bool:
        """Make room for one. Hearsay goes first: most failures, then silent longest."""
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
