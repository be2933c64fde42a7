"""Settings of the network, `[network]` in peer.toml. No libp2p here, so that reading a configuration stays quick.

Only what differs between devices and their owners is a setting. Deadlines and the other limits are constants, each
with its reason, where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from peers.net.addresses import parse_listen_address, parse_multiaddress
from wire.updates.packing import FINENESS, Packing

RETIRED_NETWORK_KEYS: Final[dict[str, str]] = {
    "pulls": "at most 8 blobs are fetched at the same time",
    "pulls_per_peer": "at most 2 blobs are fetched from one peer at the same time",
    "serves": "at most 4 blobs are served at the same time",
    "upload_burst_bytes": "it is 64 MB",
    "frame_deadline_s": "it is 10 s",
    "answer_deadline_s": "it is 10 s",
    "dial_deadline_s": "it is 5 s",
    "redial_s": "it is 2 s",
    "heartbeat_s": "it is 1 s",
}
"""Settings that files of earlier versions may still hold -> what holds now. A reader of files ignores them."""


PackingOrAuto: TypeAlias = Literal[Packing, "auto"]

_SLOW_LINKS: Final[tuple[tuple[float, Packing], ...]] = ((1e6, "tight"),)
"""Blob bytes a second to one peer, and what "auto" is below; the slowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    listen: str = "/ip4/0.0.0.0/tcp/0"
    """Where to accept connections: /ip4/ADDRESS/tcp/PORT or /ip6/...; port 0 takes a free one."""

    join: tuple[str, ...] = ()
    """Peers to start from: full multiaddresses ending in /p2p/12D3KooW... Empty: wait for others."""

    target_connections: int = 16
    """Stop looking for more peers at this many connections, 1 to max_connections. Nets up to this size
    end up fully connected. Guess."""

    max_connections: int = 64
    """Connections in all, 1 to 1,024. Guess, for networks of up to 100 peers."""

    max_per_address: int = 8
    """Inbound connections from one IP address (IPv6: one /64), 1 to 1,024; from this machine at least 32. Raise it
    where more devices share one router or one host. Lighthouse's value."""

    upload_bytes_s: float = 32e6
    """Blob bytes a second to one peer, above 1,000; beyond it we answer later, not with an error. Guess:
    room for a 4 MB update eight times a second; lower it on a metered link."""

    packing: PackingOrAuto = "auto"
    """How finely this peer's updates are rounded, so that they travel as differences from its last one: "fine",
    "normal", "tight", or "sparse", of each round the few numbers that moved most, for adapters that hardly learn any
    more; "whole" rounds to bfloat16 only, and always sends all. "auto" follows upload_bytes_s: "normal", below 1 MB a
    second "tight" (a guess). Peers may differ in it."""

    max_blob_bytes: int = 512 * 2**20
    """Largest blob to fetch, 1 to 2^31-1 bytes. Memory for it is taken at once. Guess."""

    @property
    def packing_of_updates(self) -> Packing:
        """What "auto" stands for here."""
        for name in FINENESS:
            if name == self.packing:
                return name
        for below, name in _SLOW_LINKS:
            if self.upload_bytes_s < below:
                return name
        return "normal"

    def __post_init__(self) -> None:
        parse_listen_address(self.listen)
        # In one spelling each, and each once.
        joined = dict.fromkeys(str(parse_multiaddress(address)) for address in self.join)
        object.__setattr__(self, "join", tuple(joined))
        for name, low, high in (
            ("max_connections", 1, 1024),
            ("target_connections", 1, self.max_connections),
            ("max_per_address", 1, 1024),
            ("upload_bytes_s", 1_000, 1e12),
            ("max_blob_bytes", 1, 2**31 - 1),
        ):
            value: float = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be in {low}..{high}, got {value}")
