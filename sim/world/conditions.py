"""The conditions of a simulated world: links, computing speed, topology and churn.

Times are seconds of virtual time. Together with a seed, the conditions decide everything that a world leaves to
chance. A scenario's file holds them as four tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from sim.world.churn_phrases import joining, outage, split

LONGEST_S = 1e9
"""Longest span of virtual time that may be configured, about thirty years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    latency_s: float = 0.05
    """Seconds that every message takes one way at least, 0 to 1e9. Guess: two homes on one continent."""

    jitter_s: float = 0.05
    """Seconds on top, drawn evenly from 0 to this for each message, 0 to 1e9. Guess."""

    loss: float = 0.0
    """Probability that a message is lost, 0 to below 1. A peer that requested a blob notices the loss and asks another
    source; a lost announcement or greeting is not repeated."""

    bandwidth_bytes_s: float = 0.0
    """Bytes a second that a peer can send to all others together, one message after the other; 0 for no limit, at most
    1e12. Receiving is not limited."""

    disk_s: float = 0.01
    """Seconds until a state is on disk, and again until its peer knows, 0 to 1e9. Guess: a solid-state disk
    with its cache flushed."""

    def __post_init__(self) -> None:
        for name in ("latency_s", "jitter_s", "disk_s"):
            _must_lie(name, getattr(self, name), 0, LONGEST_S)
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss must be in [0, 1), got {self.loss}")
        _must_lie("bandwidth_bytes_s", self.bandwidth_bytes_s, 0, 1e12)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeConfig:
    step_s: float = 0.05
    """Seconds of one local step on a device of speed 1, above 0 to 1e9. Guess."""

    answer_s: float = 0.15
    """Seconds until any other question to the learner is answered, 0 to 1e9, on every device. The default is above the
    longest default latency, so that questions of one moment are open together and computed as one batch."""

    speeds: tuple[float, ...] = (1.0,)
    """Speeds of the devices, each above 0 to 1e6, cycled over the peers. A device of speed 2 takes its local steps in
    half the time."""

    def __post_init__(self) -> None:
        if not 0 < self.step_s <= LONGEST_S:
            raise ValueError(f"step_s must be in (0, 1e9], got {self.step_s}")
        _must_lie("answer_s", self.answer_s, 0, LONGEST_S)
        if not self.speeds:
            raise ValueError("speeds must hold at least one number, got none")
        for speed in self.speeds:
            if not 0 < speed <= 1e6:
                raise ValueError(f"speeds must be in (0, 1e6], got {speed}")

    def speed_of(self, index: int) -> float:
        return self.speeds[index % len(self.speeds)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyConfig:
    kind: Literal["full", "random"] = "full"
    """Which peers are connected: "full", all with all, or "random", a connected graph drawn by the seed in which every
    peer has `degree` neighbours."""

    degree: int = 4
    """Neighbours of each peer in a random graph, 2 to 1,000, and below the number of peers; peers times degree must be
    even. For the kind "random" only."""

    relay: bool = True
    """Whether a peer passes on the announcements that it accepts. Without, they travel one hop, and news of peers that
    are no neighbours comes only by comparison (`compare_every_s`), if at all."""

    def __post_init__(self) -> None:
        if self.kind not in ("full", "random"):
            raise ValueError(f"kind must be full or random, got {self.kind!r}")
        if not 2 <= self.degree <= 1000:
            raise ValueError(f"degree must be in 2..1000, got {self.degree}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnConfig:
    late: tuple[str, ...] = ()
    """Peers that join later than the others, as "peer-8 at 40", in seconds since the world began."""

    outages: tuple[str, ...] = ()
    """Crashes of a peer and the time of its restart, as "peer-3 from 20 to 60". Its disk remains."""

    cuts: tuple[str, ...] = ()
    """Network splits, as "peer-0 peer-1 | peer-2 from 10 to 30": peers on unlike sides of a | cannot reach each other,
    peers not named reach all."""

    crashes_per_hour: float = 0.0
    """Crashes of each peer in an hour of its life, at random, 0 to 3,600; 0 for none."""

    downtime_s: float = 60.0
    """Seconds that a peer stays away after such a crash on average, above 0 to 1e9; drawn from an exponential
    distribution, as the times between crashes are. Guess."""

    def __post_init__(self) -> None:
        _must_parse("late", self.late, joining)
        _must_parse("outages", self.outages, outage)
        _must_parse("cuts", self.cuts, split)
        _must_lie("crashes_per_hour", self.crashes_per_hour, 0, 3600)
        if not 0 < self.downtime_s <= LONGEST_S:
            raise ValueError(f"downtime_s must be in (0, 1e9], got {self.downtime_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Everything about a world that is not a peer."""

    link: LinkConfig = field(default_factory=LinkConfig)
    """How messages and the disk behave, the same for every peer."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """Virtual time that learning takes."""
    topology: TopologyConfig = field(default_factory=TopologyConfig)
    """Which peers are connected."""
    churn: ChurnConfig = field(default_factory=ChurnConfig)
    """When peers join, crash and are cut off."""


def _must_lie(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must be in {low:g}..{high:g}, got {value}")


def _must_parse(name: str, phrases: Iterable[str], parse: Callable[[str], object]) -> None:
    for phrase in phrases:
        try:
            parse(phrase)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
