"""The course of a fleet: its mean loss over time, with all that it had spent by then; and what a loss took."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, Protocol

import msgspec

from trust.record.history import Begun, Entry, Round


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at a moment: the mean over peers of the loss on their test splits in nats a token, and what all of them
    together had trained on, sent and used by then."""

    seconds: float
    tokens: int
    bytes: int
    joules: float
    loss: float


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet needed to come to a loss: the four objectives, less is better."""

    tokens: float
    seconds: float
    joules: float
    bytes: float


OBJECTIVES: Final = ("tokens", "seconds", "joules", "bytes")


class CellCourse(Protocol):
    """Anything that has a course, as the result of a cell."""

    @property
    def course(self) -> Sequence[Point]: ...


def course_of(entries: Iterable[Entry], *, began_s: float) -> list[Point]:
    """Points at the times of all peers' records, the first of the untrained fleet.

    Between two records of a peer all of it is taken to go along a line, so that peers that end a round together count
    together, whoever writes its record first; after its last record it stays where it was.
    """
    tracks: dict[str, list[Point]] = {}
    for entry in entries:
        record, seconds = entry.record, entry.at_s - began_s
        sent = sum(entry.traffic.sent.values())
        match record:
            case Begun():
                begun = Point(seconds=seconds, tokens=0, bytes=sent, joules=0.0, loss=record.test_loss)
                tracks.setdefault(record.peer, [begun])
            case Round():
                before = tracks[record.peer][-1]
                joules = 0.0 if record.cost is msgspec.UNSET else record.cost.joules
                tracks[record.peer].append(
                    Point(
                        seconds=seconds,
                        tokens=record.tokens_total,
                        bytes=sent,
                        joules=before.joules + joules,
                        loss=record.test_merged,
                    )
                )
            case _:
                continue
    times = sorted({point.seconds for track in tracks.values() for point in track})
    return [_together([_at(track, seconds) for track in tracks.values()], seconds) for seconds in times]


def _at(track: Sequence[Point], seconds: float) -> Point:
    """A peer between two of its records."""
    for before, after in pairwise(track):
        if before.seconds <= seconds < after.seconds:
            share = (seconds - before.seconds) / (after.seconds - before.seconds)
            return Point(
                seconds=seconds,
                tokens=round(_between(before, after, "tokens", share)),
                bytes=round(_between(before, after, "bytes", share)),
                joules=_between(before, after, "joules", share),
                loss=_between(before, after, "loss", share),
            )
    return track[-1] if seconds >= track[-1].seconds else track[0]


def _together(peers: Sequence[Point], seconds: float) -> Point:
    return Point(
        seconds=seconds,
        tokens=sum(one.tokens for one in peers),
        bytes=sum(one.bytes for one in peers),
        joules=math.fsum(one.joules for one in peers),
        loss=math.fsum(one.loss for one in peers) / len(peers),
    )


def spent_to(course: Sequence[Point], loss: float) -> Spent | None:
    """What the fleet had spent when its loss first came down to this, between two points along a line; None where it
    never did."""
    for before, after in pairwise(course):
        if after.loss <= loss < before.loss:
            share = (before.loss - loss) / (before.loss - after.loss)
            return Spent(**{name: _between(before, after, name, share) for name in OBJECTIVES})
    return None


def loss_at(course: Sequence[Point], tokens: float) -> float | None:
    """The loss when all together had trained on so many tokens, between two points along a line; None where they never
    did. Whole steps may leave up to a twentieth of a budget, which counts as trained."""
    if course and course[-1].tokens <= tokens <= 1.05 * course[-1].tokens:
        return course[-1].loss
    for before, after in pairwise(course):
        if before.tokens <= tokens <= after.tokens and after.tokens > before.tokens:
            share = (tokens - before.tokens) / (after.tokens - before.tokens)
            return before.loss + share * (after.loss - before.loss)
    return None


def _between(before: Point, after: Point, name: str, share: float) -> float:
    low, high = getattr(before, name), getattr(after, name)
    return low + share * (high - low)
