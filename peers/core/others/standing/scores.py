"""Scores: which peers may stay connected. A peer has one once it broke a rule, and it decays by halves.

A score lies in [-100, 0], starts at 0 and halves its distance from 0 every `half_life_s`. Bad bytes cost the sender,
bad content costs its author; no peer is fined for what it could not have known. At `disconnect_at` the connection is
closed, at `ban_at` the peer is banned for `ban_s`. The values are those of the Lighthouse client of Ethereum.

Peers that the user blocked count as banned for as long as they are blocked, whatever their score.

Times are the caller's, in seconds. They outlive the process, and the clock may have been set back in between: a score
from the future counts as one of now, so that no peer stays banned for longer than `ban_s`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from peers.core.config import ScoreConfig

MAX_PEERS = 10_000
"""Scores kept. Identities are free, so this must be bounded. A tenth is forgotten at once, so that a flood does not
cost a search for each fine: first peers that are not banned, those with the best scores first."""


@dataclass(slots=True)
class _Score:
    score: float
    at_s: float
    banned_until_s: float = -math.inf


class Scores:
    """Scores by peer. Only fined peers have an entry; every other score is 0."""

    def __init__(self, config: ScoreConfig) -> None:
        self._config = config
        self._scores: dict[str, _Score] = {}
        self.blocked: frozenset[str] = frozenset()

    def restore(self, scores: Iterable[tuple[str, float, float, float]]) -> None:
        """Take over (peer, score, at, banned until) as `rows` gave them."""
        for peer, score, at_s, banned_until_s in scores:
            self._scores[peer] = _Score(score, at_s, banned_until_s)

    def rows(self) -> tuple[tuple[str, float, float, float], ...]:
        """(peer, score, at, banned until) of every score, sorted by peer."""
        return tuple(
            (peer, one.score, one.at_s, one.banned_until_s) for peer, one in sorted(self._scores.items())
        )

    def score(self, peer: str, now_s: float) -> float:
        one = self._get(peer, now_s)
        return self._decayed(one, now_s) if one else 0.0

    def fine(self, peer: str, amount: float, now_s: float) -> None:
        """Lower the score by `amount` (given as a negative number); ban where it falls far enough."""
        if not amount <= 0:
            raise ValueError(f"a fine must not be positive, got {amount}")
        if amount == 0:
            return
        one = self._get(peer, now_s) or self._scores.setdefault(peer, _Score(0.0, now_s))
        one.score, one.at_s = max(-100.0, self._decayed(one, now_s) + amount), now_s
        if one.score <= self._config.ban_at:
            one.banned_until_s = now_s + self._config.ban_s
        if len(self._scores) > MAX_PEERS:
            self._forget_the_best(now_s)

    def banned(self, peer: str, now_s: float) -> bool:
        if peer in self.blocked:
            return True
        one = self._get(peer, now_s)
        return one is not None and now_s < one.banned_until_s

    def unwelcome(self, peer: str, now_s: float) -> bool:
        """Whether a connection with this peer should not stand."""
        return self.banned(peer, now_s) or self.score(peer, now_s) <= self._config.disconnect_at

    def _get(self, peer: str, now_s: float) -> _Score | None:
        one = self._scores.get(peer)
        if one is not None:
            one.at_s = min(one.at_s, now_s)
            one.banned_until_s = min(one.banned_until_s, now_s + self._config.ban_s)
        return one

    def _decayed(self, one: _Score, now_s: float) -> float:
        return one.score * math.exp2(-(now_s - one.at_s) / self._config.half_life_s)

    def _forget_the_best(self, now_s: float) -> None:
        best = sorted(
            self._scores,
            key=lambda peer: (self.banned(peer, now_s), -self.score(peer, now_s), peer),
        )
        for peer in best[: MAX_PEERS // 10]:
            del self._scores[peer]
