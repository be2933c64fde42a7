"""Adds up what each peer's rounds cost, apart for each method by which energy was counted or estimated.

A round that was repeated after a crash counts each time, because it was spent each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from trust.inspection.reading.summary import PeerCost, Summary
from trust.names import escaped
from trust.record.history import Entry, PeerName, Round


@dataclass(slots=True)
class SpentByMethod:
    """Sums over the rounds of one peer whose energy has the same method; `peak_bytes` is the largest."""

    rounds: int = 0
    tokens: int = 0
    joules: float = 0.0
    seconds: float = 0.0
    processor_s: float = 0.0
    peak_bytes: int = 0
    sent: int = 0
    received: int = 0


class CostTotals:
    """Running totals of costs by peer and method."""

    def __init__(self) -> None:
        self.totals: dict[tuple[PeerName, str], SpentByMethod] = {}

    def feed(self, entries: Iterable[Entry]) -> None:
        for record in (entry.record for entry in entries):
            if not isinstance(record, Round) or isinstance(record.cost, msgspec.UnsetType):
                continue
            cost = record.cost
            total = self.totals.setdefault((record.peer, cost.method), SpentByMethod())
            total.rounds += 1
            total.tokens += record.tokens
            total.joules += cost.joules
            total.seconds += cost.seconds
            total.processor_s += cost.processor_s
            total.peak_bytes = max(total.peak_bytes, cost.peak_bytes)
            total.sent += cost.sent
            total.received += cost.received


def cost_totals(entries: Iterable[Entry]) -> dict[tuple[PeerName, str], SpentByMethod]:
    meter = CostTotals()
    meter.feed(entries)
    return meter.totals


def with_costs(summary: Summary, spent: Mapping[tuple[PeerName, str], SpentByMethod]) -> Summary:
    """`summary` with `costs` filled in for its peers whose rounds have a cost."""
    return msgspec.structs.replace(
        summary,
        costs=tuple(
            PeerCost(
                peer=one.peer,
                name=one.name,
                method=escaped(method),
                rounds=total.rounds,
                tokens=total.tokens,
                joules=total.joules,
                seconds=total.seconds,
                processor_s=total.processor_s,
                peak_bytes=total.peak_bytes,
                sent=total.sent,
                received=total.received,
            )
            for one in summary.peers
            for (peer, method), total in sorted(spent.items())
            if escaped(peer) == one.peer
        ),
    )
