"""What a method needs to come to a target perplexity: local steps' tokens, bytes sent, and virtual time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sim.experiments.measuring.metrics import PeerMetrics, RoundPoint, RunMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """When the mean over peers of the perplexity of each peer's best state so far came to the target: after which
    number of rounds, and for a peer the tokens it had trained on, the bytes it had sent, and the virtual seconds."""

    rounds: int
    tokens: float
    sent: float
    seconds: float


def reached(run: RunMetrics, target: float) -> Reached | None:
    """None where the run never comes to the target perplexity."""
    courses = [so_far(peer) for peer in run.peers]
    for number, points in enumerate(zip(*courses, strict=False), start=1):
        if statistics.fmean(perplexity for _, perplexity in points) <= target:
            return Reached(
                rounds=number,
                tokens=statistics.fmean(point.tokens for point, _ in points),
                sent=statistics.fmean(point.sent for point, _ in points),
                seconds=max(point.seconds for point, _ in points),
            )
    return None


def so_far(peer: PeerMetrics) -> Sequence[tuple[RoundPoint, float]]:
    """Each round of a peer with the test perplexity of its best state up to then, by the trust split."""
    known: list[tuple[RoundPoint, float]] = []
    best = (float("inf"), float("inf"))
    for point in peer.course:
        best = min(
            best,
            (point.trust_alone, point.before),
            (point.trust_merged, point.after),
            key=lambda pair: pair[0],
        )
        known.append((point, best[1]))
    return known
