"""Seats: the standing of neighbours, which they earned by gains that this peer measured on its own text, and what those
gains were.

Both are kept over restarts. Only measured neighbours have them, so a new identity costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from peers.core.events import PeerId
from peers.core.saved import SavedSeat
from trust.rows.certainty import NO_MERITS, Merits
from trust.rows.standing import has_seat, lowered, raised

MAX_STANDINGS: Final = 512
"""Standings kept. Twice the most partners of a round; the lowest is forgotten first."""


class Seats:
    def __init__(self) -> None:
        self._seats: dict[PeerId, SavedSeat] = {}

    def restore(self, rows: Iterable[SavedSeat]) -> None:
        self._seats = {row.peer: row for row in rows}

    def rows(self) -> tuple[SavedSeat, ...]:
        """Every neighbour that was measured, sorted by peer."""
        return tuple(self._seats[peer] for peer in sorted(self._seats))

    def level(self, peer: PeerId) -> float:
        """In [0, 1]; 0 for a peer that was never measured."""
        return self._seat(peer).level

    def merits(self, peer: PeerId) -> Merits:
        """What this neighbour gained by itself in earlier rounds."""
        return self._seat(peer).merits

    def seated(self, peer: PeerId) -> bool:
        return has_seat(self.level(peer))

    def all_seated(self) -> set[PeerId]:
        return {peer for peer in self._seats if self.seated(peer)}

    def measured(self, peer: PeerId, gain: float, error: float) -> None:
        """Note by how much this neighbour by itself lowered the loss, and the standard error of that."""
        seat = self._seat(peer)
        self._set(msgspec.structs.replace(seat, merits=seat.merits.after(gain, error)))

    def gained(self, peer: PeerId) -> None:
        """Note a round in which this neighbour by itself lowered the loss."""
        self._set(msgspec.structs.replace(self._seat(peer), level=raised(self.level(peer))))

    def harmed(self, peer: PeerId) -> None:
        """Note a round in which this neighbour by itself raised the loss."""
        self._set(msgspec.structs.replace(self._seat(peer), level=lowered(self.level(peer))))

    def forfeit(self, peer: PeerId) -> None:
        """Note a broken promise."""
        self._seats.pop(peer, None)

    def _seat(self, peer: PeerId) -> SavedSeat:
        return self._seats.get(peer) or SavedSeat(peer, 0.0)

    def _set(self, seat: SavedSeat) -> None:
        self._seats.pop(seat.peer, None)
        if seat.level < _LEAST:
            seat = msgspec.structs.replace(seat, level=0.0)
        if seat.level or seat.merits != NO_MERITS:
            self._seats[seat.peer] = seat
        if len(self._seats) > MAX_STANDINGS:
            del self._seats[min(self._seats.values(), key=lambda one: (one.level, one.peer)).peer]


_LEAST: Final = 0.01
"""Level below which a standing is forgotten."""
