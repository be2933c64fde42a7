"""State of the live view: is fed with history entries, and holds the latest row, traffic and events of all peers.

Memory is bounded, so that a view can run for months: a board keeps for each peer the weights and test losses of its
last `KEPT_ROUNDS` rounds, and for all peers together the last `KEPT_EVENTS` refusals and notes.
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
"""Rounds kept for each peer; a chart has a hundred columns at most."""

KEPT_EVENTS: Final = 500
"""Refusals and notes kept for all peers together. Guess."""

RATE_S: Final = 60.0
"""Seconds of records over which a rate is the mean. A round takes some tens of seconds, and its bytes come at once."""


@dataclass(frozen=True, slots=True)
class RoundPoint:
    """What charts need of a round. `weights` are those of the neighbours that the peer saw, and its own."""

    round: int
    weights: Mapping[PeerName, float]
    test_merged: float


@dataclass(frozen=True, slots=True)
class Event:
    """A refusal or a note, and the Unix time at which it was written."""

    at_s: float
    record: Refusal | Note


@dataclass(slots=True)
class WatchedPeer:
    """A peer as its own records describe it. `at_s` is the time of its last record; `latest` is its last round, None
    before the first."""

    peer: PeerName
    name: str = ""
    at_s: float = 0.0
    latest: Round | None = None
    points: deque[RoundPoint] = field(default_factory=lambda: deque[RoundPoint](maxlen=KEPT_ROUNDS))
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque[tuple[float, int]](maxlen=100))
    """(Unix time, bytes sent and received until then), at most one sample a second, so that 100 cover `RATE_S`."""
    refusals: int = 0
    """Refusals that the peer has written, including those that the board no longer keeps."""

    def seen(self, other: PeerName) -> Seen | None:
        """The entry for neighbour `other` in the latest round; None if the peer did not see it."""
        latest = self.latest
        return next((seen for seen in latest.seen if seen.peer == other), None) if latest else None

    @property
    def rate(self) -> float | None:
        """Bytes per second, sent and received, over the last minute of this peer's records, or between its last two
        records if these are further apart; None if they are less than a second apart."""
        if len(self.samples) < 2:
            return None
        until_s, total = self.samples[-1]
        inside = next((sample for sample in self.samples if sample[0] >= until_s - RATE_S), self.samples[-1])
        since_s, before = inside if inside[0] < until_s else self.samples[-2]
        return (total - before) / (until_s - since_s) if until_s - since_s >= 1 else None


class Board:
    """The state of all peers. Entries of one peer must be fed in the order in which it wrote them."""

    def __init__(self) -> None:
        self.peers: dict[PeerName, WatchedPeer] = {}
        self.events: list[Event] = []
        """The last refusals and notes of all peers, oldest first."""
        self.refusals = 0
        """Number of refusals fed so far, including those no longer in `events`."""
        self._totals = TrafficTotals()
        self._matrix: Matrix | None = None

    def feed(self, entries: Iterable[Entry]) -> set[PeerName]:
        """Take in new entries, and return the peers whose latest row changed."""
        changed: set[PeerName] = set()
        for entry in entries:
            record = entry.record
            match record:
                case Begun():
                    watched = self._peer(record.peer)
                    watched.name, self._matrix = record.name, None
                case Round():
                    watched = self._peer(record.peer)
                    _add_round(watched, record)
                    changed.add(record.peer)
                    self._matrix = None
                case Refusal() | Note():
                    watched = self._add_event(entry.at_s, record)
            if watched is not None:
                self._totals.feed((entry,))
                self._add_sample(watched, entry.at_s)
        return changed

    @property
    def matrix(self) -> Matrix:
        """The latest row of every peer that wrote a record, as `trust show` has it."""
        if self._matrix is None:
            self._matrix = trust_matrix(
                [
                    PeerRounds(
                        watched.peer,
                        watched.name,
                        {watched.latest.round: watched.latest} if watched.latest else {},
                    )
                    for watched in self.peers.values()
                ]
            )
        return self._matrix

    @property
    def traffic(self) -> Mapping[PeerName, PeerTraffic]:
        return self._totals.totals

    @property
    def at_s(self) -> float:
        """Unix time of the last record of all peers; 0 before the first."""
        return max((watched.at_s for watched in self.peers.values()), default=0.0)

    def refusals_of(self, peer: PeerName, about: PeerName) -> tuple[Event, ...]:
        """Refusals in `events` of things that `peer` received from `about`, oldest first."""
        return tuple(
            event
            for event in self.events
            if isinstance(event.record, Refusal) and event.record.peer == peer and event.record.about == about
        )

    def snapshot(self) -> Board:
        """A copy that does not change when this board is fed; it must not be fed itself."""
        snapshot = Board()
        snapshot.peers = {
            peer: replace(watched, points=watched.points.copy(), samples=watched.samples.copy())
            for peer, watched in self.peers.items()
        }
        snapshot.events, snapshot.refusals = self.events.copy(), self.refusals
        snapshot._totals.totals = copy.deepcopy(self._totals.totals)
        return snapshot

    def _peer(self, peer: PeerName) -> WatchedPeer:
        if peer not in self.peers:
            self.peers[peer] = WatchedPeer(peer)
            self._matrix = None
        return self.peers[peer]

    def _add_event(self, at_s: float, record: Refusal | Note) -> WatchedPeer | None:
        """Store an event, and return the peer that wrote it; None for a writer that never began (a simulation writes
        its notes about the whole run under no peer's name)."""
        insort(self.events, Event(at_s, record), key=lambda event: event.at_s)
        del self.events[:-KEPT_EVENTS]
        watched = self.peers.get(record.peer)
        if isinstance(record, Refusal):
            self.refusals += 1
            if watched is not None:
                watched.refusals += 1
        return watched

    def _add_sample(self, watched: WatchedPeer, at_s: float) -> None:
        watched.at_s = at_s
        total = self._totals.totals[watched.peer]
        sample = (at_s, total.sent.total() + total.received.total())
        if watched.samples and at_s - watched.samples[-1][0] < 1.0 and len(watched.samples) > 1:
            watched.samples.pop()
        watched.samples.append(sample)


def _add_round(watched: WatchedPeer, record: Round) -> None:
    """Store a round. A round that is repeated after a crash replaces the first one and those after it."""
    while watched.points and watched.points[-1].round >= record.round:
        watched.points.pop()
    weights = {seen.peer: seen.weight for seen in record.seen} | {watched.peer: record.self_weight}
    watched.points.append(RoundPoint(record.round, weights, record.test_merged))
    watched.latest = record
