"""Adds up the bytes that each peer sent and received, by kind. Records count from the start of a process, so every
restart begins a new count at 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from trust.inspection.reading.summary import PeerBytes, Summary
from trust.names import escaped
from trust.record.history import Begun, Entry, PeerName

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(slots=True)
class PeerTraffic:
    """Bytes that a peer sent and received, by kind."""

    sent: Counter[str] = field(default_factory=Counter[str])
    received: Counter[str] = field(default_factory=Counter[str])


class TrafficTotals:
    """Running totals of traffic by peer. Entries of one peer must come in the order in which it wrote them."""

    def __init__(self) -> None:
        self.totals: dict[PeerName, PeerTraffic] = {}
        self._last: dict[PeerName, PeerTraffic] = {}

    def feed(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            peer = entry.record.peer
            total = self.totals.setdefault(peer, PeerTraffic())
            now = PeerTraffic(Counter(entry.traffic.sent), Counter(entry.traffic.received))
            last = self._last.get(peer)
            if last is None or isinstance(entry.record, Begun) or _restarted(now, last):
                last = PeerTraffic()
            self._last[peer] = now
            total.sent += now.sent - last.sent
            total.received += now.received - last.received


def totals(entries: Iterable[Entry]) -> dict[PeerName, PeerTraffic]:
    meter = TrafficTotals()
    meter.feed(entries)
    return meter.totals


def with_bytes(summary: Summary, traffic: Mapping[PeerName, PeerTraffic]) -> Summary:
    """`summary` with `bytes` filled in for its peers that wrote a history."""
    known = {escaped(peer): bytes_ for peer, bytes_ in traffic.items()}
    return msgspec.structs.replace(
        summary,
        bytes=tuple(
            PeerBytes(peer=peer.peer, name=peer.name, sent=dict(found.sent), received=dict(found.received))
            for peer in summary.peers
            if (found := known.get(peer.peer))
        ),
    )


def bytes_text(count: float) -> str:
    """Seven characters at most up to a petabyte: `999 B`, `1.2 kB`, `12 MB`."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit and count < 9.95 else f"{count:.0f} {_UNITS[unit]}"


def _restarted(now: PeerTraffic, last: PeerTraffic) -> bool:
    """Whether a total fell, which happens only when a new process counts from 0 (its `Begun` record may be lost)."""
    return now.sent.total() < last.sent.total() or now.received.total() < last.received.total()
