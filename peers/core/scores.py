"""Who may stay: a score for every peer that ever broke a rule, forgotten by halves.

A score lies in [-100, 100], starts at 0 and halves its distance from 0 every `half_life_s`. Bad bytes cost the
one who sent them, bad content costs its author; nobody is fined for what it could not have known. Below
`disconnect_at` the connection goes, below `ban_at` the peer stays out for `ban_s`. The values are those of the
Lighthouse client of Ethereum. Times are the caller's, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

MAX_PEERS = 10_000
"""Standings kept; the mildest go first. Identities are free, so this must be bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig:
    half_life_s: float = 600.0
    """Seconds in which a score halves, above 0. Lighthouse."""

    disconnect_at: float = -20.0
    """Score at which the connection goes, between `ban_at` and 0. Lighthouse."""

    ban_at: float = -50.0
    """Score at which a peer is banned, in [-100, disconnect_at]. Lighthouse."""

    ban_s: float = 43_200.0
    """Seconds that a ban lasts, above 0. Lighthouse: twelve hours."""

    def __post_init__(self) -> None:
        if not self.half_life_s > 0 or not self.ban_s > 0:
            raise ValueError("half_life_s and ban_s must be above 0")
        if not -100 <= self.ban_at <= self.disconnect_at < 0:
            raise ValueError(
                f"need -100 <= ban_at <= disconnect_at < 0, got {self.ban_at} and {self.disconnect_at}"
            )


@dataclass(slots=True)
class _Standing:
    score: float
    at_s: float
    banned_until_s: float = -math.inf


class Scores:
    """Standings by peer. Only fined peers have one."""

    def __init__(self, config: ScoreConfig) -> None:
        self._config = config
        self._standings: dict[str, _Standing] = {}

    def restore(self, standings: Iterable[tuple[str, float, float, float]]) -> None:
        """Take over (peer, score, at, banned until) as `rows` gave them."""
        for peer, score, at_s, banned_until_s in standings:
            self._standings[peer] = _Standing(score, at_s, banned_until_s)

    def rows(self) -> tuple[tuple[str, float, float, float], ...]:
        """(peer, score, at, banned until) of every standing, sorted by peer."""
        return tuple(
            (peer, one.score, one.at_s, one.banned_until_s) for peer, one in sorted(self._standings.items())
        )

    def score(self, peer: str, now_s: float) -> float:
        one = self._standings.get(peer)
        if one is None:
            return 0.0
        age_s = max(0.0, now_s - one.at_s)
        return one.score * math.exp2(-age_s / self._config.half_life_s)

    def fine(self, peer: str, amount: float, now_s: float) -> None:
        """Lower the score by `amount` (given as a negative number); ban where it falls far enough."""
        if amount > 0:
            raise ValueError(f"a fine must not be positive, got {amount}")
        score = max(-100.0, self.score(peer, now_s) + amount)
        one = self._standings.setdefault(peer, _Standing(0.0, now_s))
        one.score, one.at_s = score, now_s
        if score <= self._config.ban_at:
            one.banned_until_s = now_s + self._config.ban_s
        if len(self._standings) > MAX_PEERS:
            mildest = max(self._standings, key=lambda name: (self.score(name, now_s), name))
            del self._standings[mildest]

    def banned(self, peer: str, now_s: float) -> bool:
        one = self._standings.get(peer)
        return one is not None and now_s < one.banned_until_s

    def unwelcome(self, peer: str, now_s: float) -> bool:
        """Whether a connection with this peer should not stand."""
        return self.banned(peer, now_s) or self.score(peer, now_s) <= self._config.disconnect_at
