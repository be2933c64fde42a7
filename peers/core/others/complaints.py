"""Complaints: what the history and the user are told about refusals, at most once an hour for each peer and field."""

from __future__ import annotations

from peers.core.effects import Log
from peers.core.events import PeerId
from trust.record.history import Refusal
from wire.bounded import BoundedDict

REPORT_AGAIN_S = 3600.0
"""Seconds before the same complaint about the same peer is logged again."""
MAX_COMPLAINTS = 4096
"""Complaints remembered. The oldest is forgotten first, and may then be repeated too early."""


class Complaints:
    def __init__(self, me: PeerId) -> None:
        self._me = me
        self._logged_at = BoundedDict[tuple[PeerId, str], float](MAX_COMPLAINTS)

    def about(self, peer: PeerId, field: str, why: str, now: float) -> list[Log]:
        last = self._logged_at.get((peer, field))
        if last is not None and now - last < REPORT_AGAIN_S:
            # Renewed with the old time: a complaint that keeps coming is not forgotten, and not postponed either.
            self._logged_at.renew((peer, field), last)
            return []
        self._logged_at.renew((peer, field), now)
        return [Log(record=Refusal(peer=self._me, about=peer, field=field, why=why))]
