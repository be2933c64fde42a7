"""The JSON document of `trust history`, one peer's row over the rounds, and the lines drawn from it.

`schema` rises when a field changes its meaning or goes; new fields may come without that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from trust.errors import UserMistake
from trust.inspection.reading.files import HistoryRun, find_peer
from trust.inspection.reading.naming import listed, peer_names
from trust.inspection.reading.summary import FileSummary, PeerSummary
from trust.names import escaped, short_names
from trust.record.history import PeerName, Round, Seen
from trust.record.matrix import PeerRounds

SCHEMA: Final = 1
MOST_LINES: Final = 6
"""Neighbours with a line of their own: the number of colours that the colour-blind can tell apart."""
_LABEL_WIDTH: Final = 14

T = TypeVar("T")


class RowAt(msgspec.Struct, frozen=True, kw_only=True):
    """The row of one round.

    Entry p of `weights`, `distances`, `errors` (standard errors of the distances) and `ages` (in rounds) belongs to
    `Curves.peers[p]`; where that peer was not seen, its weight is 0 and the others are null. `absorbed` is as in
    `Round`.
    """

    round: int
    self_weight: float
    weights: tuple[float, ...]
    distances: tuple[float | None, ...]
    errors: tuple[float | None, ...]
    ages: tuple[int | None, ...]
    absorbed: int
    temperature: float | None
    guard: str


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document. `peer` learns from `peers`, which are sorted by falling mean weight.

    `about` is the requested neighbour (or `peer` itself), null if all neighbours were requested.
    """

    schema: int = SCHEMA
    peer: PeerName
    name: str
    about: PeerName | None
    peers: tuple[PeerSummary, ...]
    rounds: tuple[RowAt, ...]
    files: tuple[FileSummary, ...]


@dataclass(frozen=True, slots=True)
class CurveLine:
    """A line of the drawing: weights over the rounds. `number` is its index among the lines with a colour of their own,
    None for the peer itself and for the sum of the others."""

    mark: str
    label: str
    weights: tuple[float, ...]
    number: int | None
    seen: int
    """Number of rounds in which the neighbour (or one of the summed neighbours) was seen."""


def curves(run: HistoryRun, learner: str, other: str | None, *, last: int | None) -> Curves:
    """The row of the peer that `learner` names, in the `last` rounds or in all.

    Raises `UserMistake` for an unknown peer, for a learner that recorded no round, and for a neighbour that the learner
    never saw.
    """
    names = peer_names(run.members)
    member = _recorded(run, learner, names)
    records = tuple(sorted(member.rounds.values(), key=lambda record: record.round))
    about = None if other is None else find_peer(other, list(names.items()))
    if about not in (None, member.peer) and not any(_seen_of(record, about) for record in records):
        seen = dict.fromkeys(neighbour.peer for record in records for neighbour in record.seen)
        raise UserMistake(
            f"{_label(member.peer, names)} never saw {_label(about, names)}; it saw {_listed(seen, names)}"
        )
    shown = records if last is None else records[-last:]
    # Only from the rounds shown: a neighbour that left before them needs no line.
    others = _by_weight(shown, names) if about is None else [] if about == member.peer else [about]
    return Curves(
        peer=escaped(member.peer),
        name=escaped(names[member.peer]),
        about=None if about is None else escaped(about),
        peers=tuple(PeerSummary(peer=escaped(peer), name=escaped(names[peer])) for peer in others),
        rounds=tuple(_row(record, others) for record in shown),
        files=run.summaries,
    )


def lines_of(shown: Curves) -> tuple[CurveLine, ...]:
    """The lines to draw: that of the requested neighbour; otherwise those of the neighbours with the largest weights,
    of the sum of the others, and of the peer itself."""
    labels = short_names([(peer.peer, peer.name) for peer in shown.peers], _LABEL_WIDTH)
    lines = [
        CurveLine(chr(ord("a") + index), label, _weights(shown, index), index, _rounds_seen(shown, index))
        for index, label in enumerate(labels[:MOST_LINES])
    ]
    if rest := len(labels) - len(lines):
        sums = tuple(sum(row.weights[MOST_LINES:]) for row in shown.rounds)
        seen = sum(any(age is not None for age in row.ages[MOST_LINES:]) for row in shown.rounds)
        lines.append(CurveLine("+", f"{rest} more" if rest > 1 else labels[-1], sums, None, seen))
    if shown.about in (None, shown.peer):
        own = tuple(row.self_weight for row in shown.rounds)
        lines.append(CurveLine("*", "itself", own, None, len(own)))
    return tuple(lines)


def ticks(least: float, most: float, *, parts: int) -> list[float]:
    """Positions of axis ticks that enclose `least`, `most` and 0, with about `parts` steps of 1, 2, 2.5 or 5 times a
    power of ten."""
    least, most = min(least, 0.0), max(most, 0.0)
    span = most - least or 1.0
    power = 10.0 ** math.floor(math.log10(span / parts))
    # The factor below 1 keeps a rounding error of the division from adding a step.
    factors = (1, 2, 2.5, 5, 10)
    step = next(factor * power for factor in factors if factor * power * parts > span * (1 - 1e-9))
    first, last = math.floor(least / step * (1 - 1e-9)), math.ceil(most / step * (1 - 1e-9))
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def _recorded(run: HistoryRun, text: str, names: dict[PeerName, str]) -> PeerRounds:
    peer = find_peer(text, list(names.items()))
    for member in run.members:
        if member.peer == peer and member.rounds:
            return member
    recorders = _listed((member.peer for member in run.members if member.rounds), names)
    raise UserMistake(f"{_label(peer, names)} recorded no round in {run.path}; {recorders} did")


def _row(record: Round, others: Iterable[PeerName]) -> RowAt:
    seen = tuple(_seen_of(record, peer) for peer in others)
    return RowAt(
        round=record.round,
        self_weight=record.self_weight,
        weights=tuple(neighbour.weight if neighbour else 0.0 for neighbour in seen),
        distances=_each(seen, lambda neighbour: neighbour.distance),
        errors=_each(seen, lambda neighbour: neighbour.error),
        ages=_each(seen, lambda neighbour: neighbour.age),
        absorbed=record.absorbed,
        temperature=record.temperature,
        guard=record.guard,
    )


def _each(seen: Iterable[Seen | None], value: Callable[[Seen], T]) -> tuple[T | None, ...]:
    return tuple(value(neighbour) if neighbour else None for neighbour in seen)


def _seen_of(record: Round, peer: PeerName | None) -> Seen | None:
    return next((seen for seen in record.seen if seen.peer == peer), None)


def _by_weight(records: Iterable[Round], names: dict[PeerName, str]) -> list[PeerName]:
    """The neighbours in `records` by falling mean weight; ties in the order of `names`."""
    # All means have the same divisor, so their order is that of the sums.
    sums = dict.fromkeys(names, 0.0)
    found: set[PeerName] = set()
    for seen in (seen for record in records for seen in record.seen):
        sums[seen.peer] += seen.weight if math.isfinite(seen.weight) else 0.0
        found.add(seen.peer)
    return sorted((peer for peer in names if peer in found), key=lambda peer: -sums[peer])


def _weights(shown: Curves, index: int) -> tuple[float, ...]:
    return tuple(row.weights[index] for row in shown.rounds)


def _rounds_seen(shown: Curves, index: int) -> int:
    return sum(row.ages[index] is not None for row in shown.rounds)


def _label(peer: PeerName | None, names: dict[PeerName, str]) -> str:
    return escaped(names.get(peer or "") or peer or "")


def _listed(peers: Iterable[PeerName], names: dict[PeerName, str]) -> str:
    return listed([_label(peer, names) for peer in peers], 12) or "nobody"
