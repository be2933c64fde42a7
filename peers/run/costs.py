"""Adds to a round's record what the round cost: energy, seconds of processors, memory and bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from gossipllm.device.energy import EnergyMeter
from peers.net.host import NetworkTraffic
from trust.record.cost import Cost
from trust.record.history import Round

LOOK_EVERY_S: Final = 60.0
"""Seconds between two looks at the counters of energy. They wrap around after minutes of full load."""


@dataclass(frozen=True, slots=True)
class LearnerUse:
    """What a learner used so far, over all its processes. `device` is that of its model, empty before it is open."""

    processor_s: float = 0.0
    peak_bytes: int = 0
    device: str = ""


class CostMeter:
    """Measures the rounds of one process. `learner` says what the learner used so far."""

    def __init__(
        self,
        energy: EnergyMeter,
        learner: Callable[[], LearnerUse],
        *,
        now: Callable[[], float] = time.monotonic,
        own_processor_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._energy = energy
        self._learner = learner
        self._now = now
        self._own_processor_s = own_processor_s
        self._looked = self._since = now()
        self._processor_s = self._sent = self._received = 0.0

    def tick(self) -> None:
        """To be called every few seconds. Costs nothing but once a minute."""
        if self._now() - self._looked >= LOOK_EVERY_S:
            self._looked = self._now()
            self._energy.look()

    def costed(self, record: Round, traffic: NetworkTraffic) -> Round:
        """The record with its cost."""
        used, now = self._learner(), self._now()
        if used.device.startswith("cuda"):
            self._energy.uses_gpu()
        processor_s = self._own_processor_s() + used.processor_s
        sent, received = _all(traffic.sent), _all(traffic.received)
        spent_s = max(0.0, processor_s - self._processor_s)
        energy = self._energy.since_last(spent_s)
        cost = Cost(
            joules=energy.joules,
            method=energy.method,
            seconds=now - self._since,
            processor_s=spent_s,
            peak_bytes=used.peak_bytes,
            sent=int(sent - self._sent),
            received=int(received - self._received),
        )
        self._since, self._processor_s, self._sent, self._received = now, processor_s, sent, received
        return msgspec.structs.replace(record, cost=cost)


def _all(kinds: Mapping[str, int]) -> int:
    return sum(kinds.values())
