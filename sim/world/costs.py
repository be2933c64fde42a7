"""Virtual costs of a simulated peer's rounds: declared watts times the virtual time in which its learner works."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from trust.record.cost import Cost
from trust.record.history import Round, Traffic


@dataclass(slots=True)
class VirtualCosts:
    """Adds to each round's record what was spent since the one before. `watts` are of a working device; an idle one
    counts nothing. Of no watts, records stay as they are."""

    watts: float = 0.0
    busy_s: float = 0.0
    """Virtual seconds in which the learner has worked so far, in all lives of the peer."""
    since_s: float = 0.0
    """When the last record of a round was written, or the peer was added."""
    _busy_s: float = 0.0
    _traffic: Traffic = field(default_factory=lambda: Traffic(sent={}, received={}))

    def costed(self, record: Round, traffic: Traffic, at_s: float) -> Round:
        if not self.watts:
            return record
        before, since_s, worked_s = self._traffic, self.since_s, self.busy_s - self._busy_s
        self._traffic, self.since_s, self._busy_s = traffic, at_s, self.busy_s
        cost = Cost(
            joules=self.watts * worked_s,
            method=f"virtual: {self.watts:g} W x working time",
            seconds=at_s - since_s,
            processor_s=worked_s,
            sent=sum(traffic.sent.values()) - sum(before.sent.values()),
            received=sum(traffic.received.values()) - sum(before.received.values()),
        )
        return msgspec.structs.replace(record, cost=cost)
