"""Token buckets that delay. A peer that asks too much is answered later, not with an error."""

from __future__ import annotations

from typing import Final

import trio

from peers.core.events import PeerId
from wire.bounded import BoundedDict

MAX_BUCKETS: Final = 1_024
"""Peers whose bucket is remembered, connected or not. An empty bucket outlives its connection, or a peer would fill
it by connecting again."""


class Bucket:
    """Lets `burst` units pass at once and `rate_s` a second after that, in the order of asking."""

    def __init__(self, *, rate_s: float, burst: float) -> None:
        self._rate_s = rate_s
        self._burst = burst
        self._level = burst
        self._at = trio.current_time()

    async def take(self, units: float) -> None:
        """Wait until `units` may pass. They count from now on even if the wait is cancelled."""
        now = trio.current_time()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate_s) - units
        self._at = now
        if self._level < 0:
            await trio.sleep(-self._level / self._rate_s)

    @property
    def full(self) -> bool:
        """Whether it may be forgotten: a new one would allow no more."""
        return self._level + (trio.current_time() - self._at) * self._rate_s >= self._burst


class PeerBuckets:
    """One bucket for each peer, all of one size."""

    def __init__(self, *, rate_s: float, burst: float) -> None:
        self._rate_s = rate_s
        self._burst = burst
        self._buckets: BoundedDict[PeerId, Bucket] = BoundedDict(MAX_BUCKETS)

    def of(self, peer: PeerId) -> Bucket:
        if peer not in self._buckets:
            self._buckets[peer] = Bucket(rate_s=self._rate_s, burst=self._burst)
        return self._buckets[peer]

    def disconnected(self, peer: PeerId) -> None:
        """Forget the bucket unless the peer has drawn on it."""
        if peer in self._buckets and self._buckets[peer].full:
            del self._buckets[peer]
