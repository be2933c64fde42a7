"""The time and the loss of messages between simulated peers.

A message takes its latency after the sender's uplink has sent it, one message after the other.
"""

from __future__ import annotations

import random

from sim.world.agenda import Agenda
from sim.world.conditions import LinkConfig
from sim.world.links.obstacles import Obstacles
from sim.world.simulated_peer import SimulatedPeer


class Line:
    """The lines of one world: all alike, with one source of chance."""

    def __init__(self, link: LinkConfig, agenda: Agenda, rng: random.Random, obstacles: Obstacles) -> None:
        self._latency, self._jitter = link.latency_s, link.jitter_s
        self._loss, self._bandwidth = link.loss, link.bandwidth_bytes_s
        self._agenda = agenda
        self._rng = rng
        self._obstacles = obstacles

    def sending_s(self, sender: SimulatedPeer, kind: str, size: int) -> float:
        """Seconds until a message sent now arrives; its bytes count as sent also where it is lost."""
        return self._occupy(sender, kind, size) + self.latency_s()

    def _occupy(self, sender: SimulatedPeer, kind: str, size: int) -> float:
        """Seconds until the sender's uplink has sent these bytes."""
        sender.sent[kind] += size
        if not self._bandwidth:
            return 0.0
        sender.free_at = max(sender.free_at, self._agenda.now) + size / self._bandwidth
        return sender.free_at - self._agenda.now

    def send_copy(self, sender: SimulatedPeer, receiver: SimulatedPeer, kind: str, size: int) -> None:
        """Send what the receiver has already: it costs its bytes, and the receiver drops it unseen."""
        self._occupy(sender, kind, size)
        if not self.is_lost(sender, receiver):
            receiver.received[kind] += size

    def latency_s(self) -> float:
        return self._latency + self._jitter * self._rng.random()

    def is_lost(self, sender: SimulatedPeer, receiver: SimulatedPeer) -> bool:
        """Whether a message is lost, by chance or because its direction is silent."""
        return self._obstacles.is_silent(sender.index, receiver.index) or self.is_lost_by_chance()

    def is_lost_by_chance(self) -> bool:
        return self._loss > 0 and self._rng.random() < self._loss
