"""What is said about refusals: a line for the same field of the same peer at most once an hour."""

from __future__ import annotations

from peers.core.effects import Log
from peers.core.events import PeerId
from trust.record.history import Refusal

REPORT_AGAIN_S = 3600.0
"""Seconds before the same complaint about the same peer is reported again."""
MAX_COMPLAINTS = 4096
"""Complaints remembered; the oldest goes first, and may then be repeated too early."""


class Complaints:
    def __init__(self, me: PeerId) -> None:
        self._me = me
        self._at: dict[tuple[PeerId, str], float] = {}

    def about(self, peer: PeerId, field: str, why: str, now: float) -> list[Log]:
        last = self._at.pop((peer, field), None)
        if last is not None and now - last < REPORT_AGAIN_S:
            self._at[peer, field] = last
            return []
        if len(self._at) >= MAX_COMPLAINTS:
            del self._at[next(iter(self._at))]
        self._at[peer, field] = now
        return [Log(record=Refusal(peer=self._me, about=peer, field=field, why=why))]
