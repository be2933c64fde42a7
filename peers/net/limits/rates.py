"""Token buckets that refuse, one for each key; `buckets.py` has those that delay. The caller says what time it is."""

from __future__ import annotations

from typing import Final

from wire.bounded import BoundedDict

REMEMBERED_KEYS: Final = 1_024
"""Keys whose bucket is remembered. Beyond it the oldest is forgotten, so limits in all must stand beside these."""


class Rates:
    """For each key, `burst` units at once and `rate_s` a second after that."""

    def __init__(self, *, rate_s: float, burst: float) -> None:
        self._rate_s = rate_s
        self._burst = burst
        self._levels: BoundedDict[str, tuple[float, float]] = BoundedDict(REMEMBERED_KEYS)
        """Key -> (level, when it had this level)."""

    def has(self, key: str, now: float, units: float = 1) -> bool:
        return self._level(key, now) >= units

    def take(self, key: str, now: float) -> bool:
        """One unit, if there is one."""
        level = self._level(key, now)
        if level < 1:
            return False
        self._levels.renew(key, (level - 1, now))
        return True

    def give(self, key: str) -> None:
        """One unit back."""
        if key in self._levels:
            level, at = self._levels[key]
            self._levels[key] = (min(self._burst, level + 1), at)

    def _level(self, key: str, now: float) -> float:
        level, at = self._levels.get(key, (self._burst, now))
        return min(self._burst, level + (now - at) * self._rate_s)
