"""What is known of all peers by now: entries in, the latest of everything out.

Of the past only what a view draws is kept, so that it can run for months: per peer the weights and test losses of
its last rounds, and of all peers together the last refusals and notes.
"""

from __future__ import annotations

import copy
from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from trust.inspection.reading.traffic import PeerTraffic, TrafficTotals
from trust.record.history import Begun, Entry, Note, PeerName, Refusal, Round, Seen
from trust.record.matrix import Matrix, PeerRounds, trust_matrix

KEPT_ROUNDS: Final = 400
"""Of each peer; a chart has a hundred columns at most."""

KEPT_EVENTS: Final = 500

RATE_S: Final = 60.0
"""Seconds of records that a rate is the mean of. A round has some tens of seconds, and its bytes come at once."""


@dataclass(frozen=True, slots=True)
class RoundPoint:
    """A round, for drawing it later. `weights` of the neighbours that were seen, and the peer's own."""

    round: int
    weights: Mapping[PeerName, float]
    test_merged: float


@dataclass(frozen=True, slots=True)
class Event:
    """A refusal or a note, and when it was written in Unix seconds."""

    at_s: float
    what: Refusal | Note


@dataclass(slots=True)
class WatchedPeer:
    """One peer by its own records. `at_s` is the time of the last, `latest` None before the first round."""

    peer: PeerName
    name: str = ""
    at_s: float = 0.0
    latest: Round | None = None
    points: deque[RoundPoint] = field(default_factory=lambda: deque[RoundPoint](maxlen=KEPT_ROUNDS))
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque[tuple[float, int]](maxlen=100))
    """(time, bytes sent and received by then), at most one a second."""
    refusals: int = 0

    def seen(self, other: PeerName) -> Seen | None:
        """What the latest row knew of `other`."""
        latest = self.latest
        return next((one for one in latest.seen if one.peer == other), None) if latest else None

    @property
    def rate(self) -> float | None:
        """Bytes per second, sent and received, over the last minute of this peer's own records, or between the last
        two of them if these are further apart; None for less than a second."""
        if len(self.samples) < 2:
            return None
        until_s, total = self.samples[-1]
        inside = next((one for one in self.samples if one[0] >= until_s - RATE_S), self.samples[-1])
        since_s, before = inside if inside[0] < until_s else self.samples[-2]
        return (total - before) / (until_s - since_s) if until_s - since_s >= 1 else None


class Board:
    """Fed with the entries of all peers, those of one peer in the order written."""

    def __init__(self) -> None:
        self.peers: dict[PeerName, WatchedPeer] = {}
        self.events: list[Event] = []
        """The last of them, oldest first."""
        self.refusals = 0
        """All that ever were."""
        self._meter = TrafficTotals()
        self._matrix: Matrix | None = None

    def feed(self, entries: Iterable[Entry]) -> set[PeerName]:
        """The peers whose rows changed."""
        changed: set[PeerName] = set()
        for entry in entries:
            record = entry.record
            match record:
                case Begun():
                    one = self._of(record.peer)
                    one.name, self._matrix = record.name, None
                case Round():
                    one = self._of(record.peer)
                    _append(one, record)
                    changed.add(record.peer)
                    self._matrix = None
                case Refusal() | Note():
                    one = self._event(entry.at_s, record)
            if one is not None:
                self._meter.feed((entry,))
                self._sample(one, entry.at_s)
        return changed

    @property
    def matrix(self) -> Matrix:
        """The latest rows of all who wrote anything, as `trust show` has it."""
        if self._matrix is None:
            self._matrix = trust_matrix(
                [
                    PeerRounds(one.peer, one.name, {one.latest.round: one.latest} if one.latest else {})
                    for one in self.peers.values()
                ]
            )
        return self._matrix

    @property
    def traffic(self) -> Mapping[PeerName, PeerTraffic]:
        return self._meter.totals

    @property
    def at_s(self) -> float:
        """Of the last record of all."""
        return max((one.at_s for one in self.peers.values()), default=0.0)

    def refusals_of(self, peer: PeerName, about: PeerName) -> tuple[Event, ...]:
        """Those among the last events, oldest first: what `peer` refused of `about`."""
        return tuple(
            event
            for event in self.events
            if isinstance(event.what, Refusal) and event.what.peer == peer and event.what.about == about
        )

    def still(self) -> Board:
        """As it is now, whatever this board is fed with later; not to be fed itself."""
        still = Board()
        still.peers = {
            peer: replace(one, points=one.points.copy(), samples=one.samples.copy())
            for peer, one in self.peers.items()
        }
        still.events, still.refusals = self.events.copy(), self.refusals
        still._meter.totals = copy.deepcopy(self._meter.totals)
        return still

    def _of(self, peer: PeerName) -> WatchedPeer:
        if peer not in self.peers:
            self.peers[peer] = WatchedPeer(peer)
            self._matrix = None
        return self.peers[peer]

    def _event(self, at_s: float, what: Refusal | Note) -> WatchedPeer | None:
        """Who wrote it; None for somebody who has not begun (a simulation's note about all)."""
        insort(self.events, Event(at_s, what), key=lambda event: event.at_s)
        del self.events[:-KEPT_EVENTS]
        one = self.peers.get(what.peer)
        if isinstance(what, Refusal):
            self.refusals += 1
            if one is not None:
                one.refusals += 1
        return one

    def _sample(self, one: WatchedPeer, at_s: float) -> None:
        one.at_s = at_s
        total = self._meter.totals[one.peer]
        sample = (at_s, total.sent.total() + total.received.total())
        if one.samples and at_s - one.samples[-1][0] < 1.0 and len(one.samples) > 1:
            one.samples.pop()
        one.samples.append(sample)


def _append(one: WatchedPeer, record: Round) -> None:
    """Rounds that are repeated after a crash take the place of those before it."""
    while one.points and one.points[-1].round >= record.round:
        one.points.pop()
    weights = {seen.peer: seen.weight for seen in record.seen} | {one.peer: record.self_weight}
    one.points.append(RoundPoint(record.round, weights, record.test_merged))
    one.latest = record
