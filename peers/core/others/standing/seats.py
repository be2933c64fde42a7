"""Seats: the standing of neighbours, which they earned by gains that this peer measured on its own text.

Standings are kept over restarts. Only measured neighbours have one, so a new identity costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from peers.core.events import PeerId
from peers.core.saved import SavedSeat
from trust.rows.standing import has_seat, lowered, raised

MAX_STANDINGS: Final = 512
"""Standings kept. Twice the most partners of a round; the lowest is forgotten first."""


class Seats:
    def __init__(self) -> None:
        self._levels: dict[PeerId, float] = {}

    def restore(self, rows: Iterable[SavedSeat]) -> None:
        self._levels = {row.peer: row.level for row in rows}

    def rows(self) -> tuple[SavedSeat, ...]:
        """Every standing above 0, sorted by peer."""
        return tuple(SavedSeat(peer, level) for peer, level in sorted(self._levels.items()))

    def level(self, peer: PeerId) -> float:
        """In [0, 1]; 0 for a peer that was never measured."""
        return self._levels.get(peer, 0.0)

    def seated(self, peer: PeerId) -> bool:
        return has_seat(self._levels.get(peer, 0.0))

    def all_seated(self) -> set[PeerId]:
        return {peer for peer in self._levels if self.seated(peer)}

    def gained(self, peer: PeerId) -> None:
        """Note a round in which this neighbour by itself lowered the loss."""
        self._set(peer, raised(self.level(peer)))

    def harmed(self, peer: PeerId) -> None:
        """Note a round in which this neighbour by itself raised the loss."""
        self._set(peer, lowered(self.level(peer)))

    def forfeit(self, peer: PeerId) -> None:
        """Note a broken promise."""
        self._set(peer, 0.0)

    def _set(self, peer: PeerId, level: float) -> None:
        self._levels.pop(peer, None)
        if level >= _LEAST:
            self._levels[peer] = level
        if len(self._levels) > MAX_STANDINGS:
            del self._levels[min(self._levels, key=lambda one: (self._levels[one], one))]


_LEAST: Final = 0.01
"""Level below which a standing is forgotten."""
