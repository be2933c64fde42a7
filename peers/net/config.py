"""What the network is told. No libp2p here, so that reading a configuration stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from peers.net.addresses import parse_listen_address, parse_multiaddress


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
    """Inbound connections from one public IP address, 1 to 1,024; loopback and private networks are
    exempt. Lighthouse's value."""

    pulls: int = 8
    """Blobs fetched at the same time, 1 to 64. Guess."""

    pulls_per_peer: int = 2
    """Of which from one peer, 1 to `pulls`. Guess."""

    serves: int = 4
    """Blobs served at the same time, 1 to 64; whoever asks beyond that is told to come back."""

    upload_bytes_s: float = 32e6
    """Blob bytes a second to one peer, above 1,000; beyond it we answer later, not with an error. Guess:
    room for a 4 MB update eight times a second; lower it on a metered link."""

    upload_burst_bytes: int = 64_000_000
    """Blob bytes one peer may take at once before `upload_bytes_s` counts, at least 262,144. Guess."""

    max_blob_bytes: int = 512 * 2**20
    """Largest blob to fetch, 1 to 2^31-1 bytes. Memory for it is taken at once. Guess."""

    frame_deadline_s: float = 10.0
    """Seconds from a frame's first byte to its last, 0.01 to 600. Guess."""

    answer_deadline_s: float = 10.0
    """Seconds to wait for an answer to a greeting or the head of a blob, 0.01 to 600. Guess."""

    dial_deadline_s: float = 5.0
    """Seconds for one dial, 0.1 to 120. A dial on loopback takes 0.02 s, over 300 ms of latency 2 s."""

    redial_s: float = 2.0
    """Least seconds between two rounds of dialling, 0.01 to 600; half as much again is random."""

    heartbeat_s: float = 1.0
    """Seconds between two GossipSub heartbeats, 0.05 to 60. The GossipSub paper's value."""

    def __post_init__(self) -> None:
        parse_listen_address(self.listen)
        for address in self.join:
            parse_multiaddress(address)
        for name, low, high in (
            ("max_connections", 1, 1024),
            ("target_connections", 1, self.max_connections),
            ("max_per_address", 1, 1024),
            ("pulls", 1, 64),
            ("pulls_per_peer", 1, self.pulls),
            ("serves", 1, 64),
            ("upload_bytes_s", 1_000, 1e12),
            ("upload_burst_bytes", 262_144, 2**40),
            ("max_blob_bytes", 1, 2**31 - 1),
            ("frame_deadline_s", 0.01, 600),
            ("answer_deadline_s", 0.01, 600),
            ("dial_deadline_s", 0.1, 120),
            ("redial_s", 0.01, 600),
            ("heartbeat_s", 0.05, 60),
        ):
            value: float = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be in {low}..{high}, got {value}")
