"""A token bucket that delays. Whoever asks too much is answered later, not with an error."""

from __future__ import annotations

import trio


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
