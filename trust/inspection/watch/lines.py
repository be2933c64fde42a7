"""The live view for scripts: one line of JSON for each change.

The types below describe a line, outermost last. `schema` rises when a field changes its meaning or goes; new fields may
come without that. All text is escaped.
"""

from __future__ import annotations

import msgspec

from trust.inspection.watch.board import Board, WatchedPeer
from trust.inspection.watch.following import Following
from trust.names import escaped
from trust.record.history import Entry, LeftOut, Note, PeerName, Refusal, Round

SCHEMA = 1


class RowLine(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's latest round. `at_s` is the time of its last record. `weights` has the neighbours that it saw,
    `left_out` those that were left out of the row, and why; `sent` and `received` are bytes by kind since its first
    record."""

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
    left_out: dict[PeerName, LeftOut]
    sent: dict[str, int]
    received: dict[str, int]


class RefusalLine(msgspec.Struct, frozen=True, kw_only=True):
    """`peer` refused something that came from `about`, for the reason `why`."""

    at_s: float
    peer: PeerName
    about: PeerName
    field: str
    why: str


class NoteLine(msgspec.Struct, frozen=True, kw_only=True):
    """A note of `peer`; `level` is info, warning or error."""

    at_s: float
    peer: PeerName
    level: str
    text: str


class UpdateLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of output: what changed since the line before. `again`: a file was cut or replaced, and all earlier
    lines are void."""

    schema: int = SCHEMA
    again: bool
    rows: tuple[RowLine, ...]
    refusals: tuple[RefusalLine, ...]
    notes: tuple[NoteLine, ...]
    troubles: tuple[str, ...]


class WatchLines:
    """Writes the lines of `trust watch --json`. `behind`: bytes to be read before the next line is complete."""

    def __init__(self, following: Following) -> None:
        self.behind = 0
        self._following = following
        self._board = Board()
        self._changed: set[PeerName] = set()
        self._events: list[Entry] = []
        self._again = False
        self._troubles: tuple[str, ...] = ()

    def next(self) -> str | None:
        """The next line; None where nothing changed, and while a long history is not read to its end."""
        new = self._following.read_new()
        self.behind = new.behind
        if new.restarted:
            self._board, self._again = Board(), True
            self._changed.clear()
            self._events.clear()
        self._changed |= self._board.feed(new.entries)
        self._events += (entry for entry in new.entries if isinstance(entry.record, Refusal | Note))
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
            rows=tuple(self._row(peer, peer.latest) for peer in changed if peer.latest is not None),
            refusals=tuple(
                _refusal_line(entry.at_s, entry.record)
                for entry in self._events
                if isinstance(entry.record, Refusal)
            ),
            notes=tuple(
                _note_line(entry.at_s, entry.record)
                for entry in self._events
                if isinstance(entry.record, Note)
            ),
            troubles=self._troubles,
        )

    def _row(self, watched: WatchedPeer, latest: Round) -> RowLine:
        traffic = self._board.traffic[watched.peer]
        return RowLine(
            peer=escaped(watched.peer),
            name=escaped(watched.name),
            round=latest.round,
            at_s=watched.at_s,
            self_weight=latest.self_weight,
            weights={escaped(seen.peer): seen.weight for seen in latest.seen},
            trust_alone=latest.trust_alone,
            trust_merged=latest.trust_merged,
            test_alone=latest.test_alone,
            test_merged=latest.test_merged,
            train_loss=latest.train_loss,
            temperature=latest.temperature,
            guard=latest.guard,
            left_out={escaped(seen.peer): seen.left for seen in latest.seen if seen.left is not None},
            sent=_counts(traffic.sent),
            received=_counts(traffic.received),
        )


def _counts(counts: dict[str, int]) -> dict[str, int]:
    return {escaped(kind): count for kind, count in counts.items()}


def _refusal_line(at_s: float, refusal: Refusal) -> RefusalLine:
    return RefusalLine(
        at_s=at_s,
        peer=escaped(refusal.peer),
        about=escaped(refusal.about),
        field=escaped(refusal.field),
        why=escaped(refusal.why),
    )


def _note_line(at_s: float, note: Note) -> NoteLine:
    return NoteLine(at_s=at_s, peer=escaped(note.peer), level=note.level, text=escaped(note.text, 500))
