"""The live view for scripts: a JSON line whenever something changed.

Described by the types below, outermost last. `schema` rises when a field changes its meaning or goes; new fields may
come without that. All text is escaped.
"""

from __future__ import annotations

import msgspec

from trust.inspection.watch.board import Board, WatchedPeer
from trust.inspection.watch.following import Following
from trust.names import escaped
from trust.record.history import Entry, Note, PeerName, Refusal

SCHEMA = 1


class RowLine(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's latest round, written at `at_s` or not long before it. Weights are of the neighbours it saw; bytes
    are by kind, since its first record."""

    peer: PeerName
    name: str
    round: int
    at_s: float
    self_weight: float
    weights: dict[PeerName, float]
    trust_alone: float
    trust_merged: float
    test_alone: float
    test_merged: float
    train_loss: float
    temperature: float | None
    guard: str
    sent: dict[str, int]
    received: dict[str, int]


class RefusalLine(msgspec.Struct, frozen=True, kw_only=True):
    at_s: float
    peer: PeerName
    about: PeerName
    field: str
    why: str


class NoteLine(msgspec.Struct, frozen=True, kw_only=True):
    at_s: float
    peer: PeerName
    level: str
    text: str


class UpdateLine(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    again: bool
    rows: tuple[RowLine, ...]
    refusals: tuple[RefusalLine, ...]
    notes: tuple[NoteLine, ...]
    troubles: tuple[str, ...]


class WatchLines:
    """What changed since the last line. `behind`: bytes that are left to be read before the next."""

    def __init__(self, following: Following) -> None:
        self.behind = 0
        self._following = following
        self._board = Board()
        self._changed: set[PeerName] = set()
        self._events: list[Entry] = []
        self._again = False
        self._troubles: tuple[str, ...] = ()

    def next(self) -> str | None:
        """None where nothing changed, and while a long history is not read to its end."""
        news = self._following.news()
        self.behind = news.behind
        if news.again:
            self._board, self._again = Board(), True
            self._changed.clear()
            self._events.clear()
        self._changed |= self._board.feed(news.entries)
        self._events += (entry for entry in news.entries if isinstance(entry.record, Refusal | Note))
        troubles = self._following.troubles
        if self.behind or not (self._changed or self._events or self._again or troubles != self._troubles):
            return None
        self._troubles = troubles
        update = self._update()
        self._again = False
        self._changed.clear()
        self._events.clear()
        return msgspec.json.encode(update).decode()

    def _update(self) -> UpdateLine:
        changed = (self._board.peers[peer] for peer in self._board.matrix.peers if peer in self._changed)
        return UpdateLine(
            again=self._again,
            rows=tuple(self._row(one) for one in changed),
            refusals=tuple(
                _refused(entry.at_s, entry.record)
                for entry in self._events
                if isinstance(entry.record, Refusal)
            ),
            notes=tuple(
                _noted(entry.at_s, entry.record) for entry in self._events if isinstance(entry.record, Note)
            ),
            troubles=self._troubles,
        )

    def _row(self, one: WatchedPeer) -> RowLine:
        latest = one.latest
        assert latest is not None, "a row changes when a round is finished"
        traffic = self._board.traffic[one.peer]
        return RowLine(
            peer=escaped(one.peer),
            name=escaped(one.name),
            round=latest.round,
            at_s=one.at_s,
            self_weight=latest.self_weight,
            weights={escaped(seen.peer): seen.weight for seen in latest.seen},
            trust_alone=latest.trust_alone,
            trust_merged=latest.trust_merged,
            test_alone=latest.test_alone,
            test_merged=latest.test_merged,
            train_loss=latest.train_loss,
            temperature=latest.temperature,
            guard=latest.guard,
            sent=_counts(traffic.sent),
            received=_counts(traffic.received),
        )


def _counts(counts: dict[str, int]) -> dict[str, int]:
    return {escaped(kind): count for kind, count in counts.items()}


def _refused(at_s: float, refusal: Refusal) -> RefusalLine:
    return RefusalLine(
        at_s=at_s,
        peer=escaped(refusal.peer),
        about=escaped(refusal.about),
        field=escaped(refusal.field),
        why=escaped(refusal.why),
    )


def _noted(at_s: float, note: Note) -> NoteLine:
    return NoteLine(at_s=at_s, peer=escaped(note.peer), level=note.level, text=escaped(note.text, 500))
