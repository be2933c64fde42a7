"""Which blobs are being served, and which transfer gives way when all places are taken.

Whoever reads slowly holds a place for long, so a slow transfer that has had its time gives way to a newcomer. One peer
has at most `SERVES_PER_PEER` places, and one address group, unless it is this machine, at most three quarters of all.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from peers.net.host import PeerId
from peers.net.limits.groups import is_loopback_group

SERVES_PER_PEER: Final = 2
"""Blobs served to one peer at the same time: as many as a peer pulls from one source."""
SERVE_GRACE_S: Final = 5.0
"""Seconds for which a transfer cannot be displaced. As `blob_puller.GRACE_S`."""
SLOW_BYTES_S: Final = 65_536.0
"""A transfer below this rate gives way to a newcomer, unless this host's own limit makes it slow. Guess: four times the
least rate of a pull."""


@dataclass(slots=True, eq=False)
class Transfer:
    """One blob on its way to a peer."""

    peer: PeerId
    group: str
    began: float
    sent_bytes: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def rate_bytes_s(self, now: float) -> float:
        return self.sent_bytes / max(1e-3, now - self.began)


class Serving:
    """The transfers of one host, at most `most`. `upload_bytes_s` is the host's own limit for one peer."""

    def __init__(self, most: int, *, upload_bytes_s: float) -> None:
        self._most = most
        self._slow_bytes_s = min(SLOW_BYTES_S, upload_bytes_s / (2 * SERVES_PER_PEER))
        self._transfers: list[Transfer] = []

    def place(self, peer: PeerId, group: str) -> Transfer | None:
        """A place for a transfer, which may end another one; None where the peer must come back."""
        now = trio.current_time()
        of_peer = sum(each.peer == peer for each in self._transfers)
        of_group = sum(each.group == group for each in self._transfers)
        most_of_group = self._most if is_loopback_group(group) else max(1, self._most * 3 // 4)
        if of_peer >= SERVES_PER_PEER or of_group >= most_of_group:
            return None
        if len(self._transfers) >= self._most:
            victim = self._giving_way(now)
            if victim is None:
                return None
            self._transfers.remove(victim)
            victim.scope.cancel()
        transfer = Transfer(peer, group, now)
        self._transfers.append(transfer)
        return transfer

    @contextmanager
    def under_way(self, transfer: Transfer) -> Generator[None]:
        """Hold the place inside the block, which is left early if the transfer gives way."""
        try:
            with transfer.scope:
                yield
        finally:
            if transfer in self._transfers:
                self._transfers.remove(transfer)

    def _giving_way(self, now: float) -> Transfer | None:
        slow = [
            each
            for each in self._transfers
            if now - each.began >= SERVE_GRACE_S and each.rate_bytes_s(now) < self._slow_bytes_s
        ]
        return min(slow, key=lambda each: each.rate_bytes_s(now), default=None)
