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
    """Points of all peers' records, in order of time, one for each moment; the first is the untrained fleet's. Peers
    that recorded no round yet count with the loss that they began with."""
    losses: dict[str, float] = {}
    tokens: dict[str, int] = {}
    sent: dict[str, int] = {}
    joules: dict[str, float] = {}
    points: list[Point] = []
    for entry in entries:
        record = entry.record
        match record:
            case Begun():
                losses.setdefault(record.peer, record.test_loss)
            case Round():
                losses[record.peer] = record.test_merged
                tokens[record.peer] = record.tokens_total
                if record.cost is not msgspec.UNSET:
                    joules[record.peer] = joules.get(record.peer, 0.0) + record.cost.joules
            case _:
                continue
        sent[record.peer] = sum(entry.traffic.sent.values())
        point = Point(
            seconds=entry.at_s - began_s,
            tokens=sum(tokens.values()),
            bytes=sum(sent.values()),
            joules=math.fsum(joules.values()),
            loss=math.fsum(losses.values()) / len(losses),
        )
        if points and points[-1].seconds == point.seconds:
            points.pop()
        points.append(point)
    return points


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
