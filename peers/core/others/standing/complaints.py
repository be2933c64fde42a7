"""Complaints: what the history and the user are told about refusals, in few lines whatever others do.

The same complaint about the same peer is told once an hour. Identities cost nothing, so complaints also have a budget
by reason and source, and one in total (`budgets.py`). Those above it are counted, and told together in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peers.core.effects import Log
from peers.core.events import PeerId
from peers.core.others.standing.budgets import LINES, LINES_OF_SOURCE, Meter
from trust.record.history import Note, Refusal
from wire.bounded import BoundedDict

REPORT_AGAIN_S: Final = 3600.0
"""Seconds before the same complaint about the same peer is logged again."""
MAX_COMPLAINTS: Final = 4096
"""Complaints remembered. The oldest is forgotten first, and may then be repeated too early."""
SUMMARY_AFTER_S: Final = 600.0
"""Seconds for which complaints above their budget are counted before the number is logged."""
MAX_COUNTED: Final = 1_000
"""Reasons and sources that a summary tells apart."""


class Complaints:
    """`source_of` gives the source of a peer: the address group of the connection by which it was heard of."""

    def __init__(self, me: PeerId, source_of: Callable[[PeerId], str]) -> None:
        self._me = me
        self._source_of = source_of
        self._logged_at = BoundedDict[tuple[PeerId, str], float](MAX_COMPLAINTS)
        self._lines_of_source = Meter(LINES_OF_SOURCE)
        self._lines = Meter(LINES)
        self._untold = _Untold()

    def about(self, peer: PeerId, field: str, why: str, now: float) -> list[Log]:
        last = self._logged_at.get((peer, field))
        if last is not None and now - last < REPORT_AGAIN_S:
            # Renewed with the old time: a complaint that keeps coming is not forgotten, and not postponed either.
            self._logged_at.renew((peer, field), last)
            return []
        source = self._source_of(peer)
        if not self._lines_of_source.take(f"{field} {source}", now) or not self._lines.take("", now):
            self._untold.add(field, source, now)
            return self.summary(now)
        self._logged_at.renew((peer, field), now)
        return [Log(record=Refusal(peer=self._me, about=peer, field=field, why=why)), *self.summary(now)]

    def summary(self, now: float) -> list[Log]:
        """One line about the complaints that were not told, if there are any and the first is old enough."""
        untold = self._untold
        if not untold.count or now - untold.since < SUMMARY_AFTER_S:
            return []
        self._untold = _Untold()
        return [Log(record=Note(peer=self._me, level="warning", text=untold.text()))]


class _Untold:
    """A count of complaints since `since`."""

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0
        self._fields = BoundedDict[str, None](MAX_COUNTED)
        self._sources = BoundedDict[str, None](MAX_COUNTED)

    def add(self, field: str, source: str, now: float) -> None:
        if not self.count:
            self.since = now
        self.count += 1
        self._fields[field] = None
        self._sources[source] = None

    def text(self) -> str:
        kinds, sources = len(self._fields), len(self._sources)
        return (
            f"and {self.count:,} more refusals of {kinds} kind{'s' * (kinds != 1)} by {sources} "
            f"connection{'s' * (sources != 1)}, not listed one by one"
        )
