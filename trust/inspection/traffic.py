"""Bytes per peer and kind, added up over restarts: a process counts from 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from trust.history import Begun, Entry, PeerName


@dataclass(slots=True)
class Bytes:
    """What a peer sent and received, by kind."""

    sent: Counter[str] = field(default_factory=Counter[str])
    received: Counter[str] = field(default_factory=Counter[str])


class Meter:
    """Fed with entries in the order in which each peer wrote them, at any time with more of them."""

    def __init__(self) -> None:
        self.totals: dict[PeerName, Bytes] = {}
        self._last: dict[PeerName, Bytes] = {}

    def feed(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            peer = entry.record.peer
            total = self.totals.setdefault(peer, Bytes())
            now = Bytes(Counter(entry.traffic.sent), Counter(entry.traffic.received))
            last = self._last.get(peer)
            if last is None or isinstance(entry.record, Begun) or _fell(now, last):
                last = Bytes()
            self._last[peer] = now
            total.sent += now.sent - last.sent
            total.received += now.received - last.received


def totals(entries: Iterable[Entry]) -> dict[PeerName, Bytes]:
    meter = Meter()
    meter.feed(entries)
    return meter.totals


def _fell(now: Bytes, last: Bytes) -> bool:
    return now.sent.total() < last.sent.total() or now.received.total() < last.received.total()
