"""The plan of a random world: its peers, its conditions, and its parts, everything that goes wrong in it.

A plan holds every number that was drawn, and each part that needs chance while the world runs has a seed of its own.
So a part can be left out and everything else stays as it was, which is how a failing world is made smaller.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from peers.core.config import CoreConfig
from sim.exploration.faults import Fault
from sim.exploration.hostile.peer import HostilePart
from sim.exploration.liars import Liar
from sim.toy.units import Form, Vector
from sim.world.conditions import Conditions

Part = Fault | HostilePart | Liar


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPeer:
    """A peer with a toy learner on `base`, whose text aims at `target` plus `lean`. It starts at `joins_s`."""

    config: CoreConfig
    target: Vector
    lean: Vector
    speed: float
    tokens: int
    joins_s: float
    base: str = "toy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One world. Its parts act during `eventful_s`; then it is quiet for `quiet_s`, and honest peers must recover."""

    seed: int
    conditions: Conditions
    form: Form
    peers: tuple[PlannedPeer, ...]
    parts: tuple[Part, ...]
    eventful_s: float
    quiet_s: float
    pause_s: float
    """Seconds of quiet after which every peer must go on."""
    news_s: float
    """Seconds within which an announcement must have come to every peer."""

    def with_parts(self, kept: Iterable[int]) -> Plan:
        """The same world with some of its parts only, named by their index."""
        return replace(self, parts=tuple(self.parts[index] for index in sorted(kept)))

    @property
    def liars(self) -> frozenset[int]:
        """Indices of the peers that are not honest."""
        return frozenset(part.peer for part in self.parts if isinstance(part, Liar))
