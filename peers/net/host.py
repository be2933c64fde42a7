"""The boundary between a peer and its network: what a peer needs of the network, and what the network asks of it.

`Network` is implemented by `libp2p_host.py` (the real one) and by a fake in the
tests; both pass the same contract. `Peer` is implemented by the driver, which asks the core.

The peer's side is synchronous, never raises and returns within half a millisecond or so: it runs inside
the router's own task, where an exception of ours must not cost a neighbour its connection, and where an
`await` would let duplicates of a frame through while the first copy is still being judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from peers.core.effects import Verdict
from peers.core.events import PeerId

__all__ = ["Link", "Network", "NetworkTraffic", "Peer", "PeerId", "PullFailed", "Unreachable", "Verdict"]


class Unreachable(Exception):
    """No answer from a peer within the deadline, or no connection to it."""


class PullFailed(Exception):
    """None of the sources gave the blob. The message says how each of them failed; `later` that one put us off."""

    def __init__(self, message: str, *, later: bool = False) -> None:
        super().__init__(message)
        self.later = later


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How a neighbour is connected: the fields of `Connected` in peers/core/events.py."""

    group: str = ""
    outbound: bool = False


@dataclass(frozen=True, slots=True)
class NetworkTraffic:
    """Bytes of payload since the start, by kind: `announce`, `blob`, `known`."""

    sent: Mapping[str, int]
    received: Mapping[str, int]


class Peer(Protocol):
    """What the network asks of the peer above it: synchronous, quick, and without exceptions (see this module)."""

    def hear(self, frame: bytes, via: PeerId) -> Verdict:
        """A frame came on the announcement topic, its bytes unchecked, passed on by `via`."""
        ...

    def greeted(self, greeting: bytes, via: PeerId) -> bytes | None:
        """The answer to a greeting, or None to close the stream without one."""
        ...

    def blob(self, digest: bytes, asker: PeerId) -> bytes | None:
        """The blob with this SHA-256 if the peer has it and `asker` may have it, else None."""
        ...

    def withholds(self, digest: bytes, asker: PeerId) -> bool:
        """Whether the peer has a blob that `asker` may have later."""
        ...

    def connected(self, peer: PeerId, link: Link) -> None: ...

    def disconnected(self, peer: PeerId) -> None: ...

    def misbehaved(self, peer: PeerId, field: str, why: str, fine: float) -> None:
        """A connected peer broke the protocol below the announcements; `fine` is negative or 0."""
        ...

    def welcome(self, peer: PeerId) -> bool:
        """Whether a connection with this peer may stand (it is not banned)."""
        ...

    def standing(self, peer: PeerId) -> float:
        """How much a connection with this peer has proven to be worth; 0 for a stranger, never below."""
        ...


class Network(Protocol):
    """The network as one peer sees it, while the peer is up."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Full multiaddresses (`/ip4/.../tcp/.../p2p/12D3...`) at which others reach this peer."""
        ...

    def neighbours(self) -> tuple[PeerId, ...]:
        """Peers with an open connection, sorted."""
        ...

    def link(self, peer: PeerId) -> Link:
        """How this neighbour is connected; a `Link` without a group for a peer that is not."""
        ...

    async def publish(self, frame: bytes) -> None:
        """Hand the frame to the router. Best effort: anti-entropy repairs what is lost.

        Raises `Unreachable` while the network is down, `ValueError` for a frame over the wire's limit.
        """
        ...

    async def greet(self, peer: PeerId, greeting: bytes) -> bytes:
        """Send a greeting, return the reply's bytes. Raises `Unreachable`."""
        ...

    async def pull(self, digest: bytes, size: int, sources: tuple[PeerId, ...]) -> bytes:
        """The blob of exactly `size` bytes with this SHA-256, from the first source that gives it.

        What one source began, the next continues. Raises `PullFailed`, and `ValueError` for a size over
        the configured limit.
        """
        ...

    async def disconnect(self, peer: PeerId) -> None:
        """End the connection, if there is one. `Peer.welcome` decides whether the peer may come back."""
        ...

    def traffic(self) -> NetworkTraffic: ...
