"""The phrases of [conditions.churn]: when peers join, are away, or are cut off from each other.

    peer-8 at 40                                peer-8 joins at that time
    peer-3 from 20 to 60                        peer-3 crashes, and restarts later
    peer-0 peer-1 | peer-2 from 10 to 30        the groups cannot reach each other; peers not named reach all

Times are virtual seconds since the world began. A malformed phrase raises a `ValueError` of one line that shows the
right form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JoinPhrase:
    peer: str
    at_s: float


@dataclass(frozen=True, slots=True)
class OutagePhrase:
    """`until_s` is later than `since_s`."""

    peer: str
    since_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class SplitPhrase:
    """At least two groups of peers, none empty, without common members."""

    groups: tuple[frozenset[str], ...]
    since_s: float
    until_s: float


def joining(phrase: str) -> JoinPhrase:
    match phrase.split():
        case [peer, "at", at]:
            return JoinPhrase(peer, _seconds(at, phrase))
        case _:
            raise ValueError(f'must be like "peer-8 at 40", got {phrase!r}')


def outage(phrase: str) -> OutagePhrase:
    match phrase.split():
        case [peer, "from", since, "to", until]:
            return OutagePhrase(peer, *_span(since, until, phrase))
        case _:
            raise ValueError(f'must be like "peer-3 from 20 to 60", got {phrase!r}')


def split(phrase: str) -> SplitPhrase:
    match phrase.split():
        case [*names, "from", since, "to", until] if "|" in names:
            groups = [part.split() for part in " ".join(names).split("|")]
        case _:
            raise ValueError(f'must be like "peer-0 peer-1 | peer-2 from 10 to 30", got {phrase!r}')
    named = [name for group in groups for name in group]
    if not all(groups):
        raise ValueError(f"must name a peer on each side of every |, got {phrase!r}")
    if len(set(named)) < len(named):
        raise ValueError(f"must name each peer once, got {phrase!r}")
    return SplitPhrase(tuple(map(frozenset, groups)), *_span(since, until, phrase))


def must_be_known(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `ValueError` for the alphabetically first name that no peer has."""
    listed = list(known)
    for name in sorted(set(names) - set(listed)):
        shown = ", ".join(listed) if len(listed) <= 8 else f"{listed[0]}, {listed[1]}, ..., {listed[-1]}"
        raise ValueError(f"no peer is called {name!r}; there are {shown}")


def _span(since: str, until: str, phrase: str) -> tuple[float, float]:
    first, last = _seconds(since, phrase), _seconds(until, phrase)
    if not first < last:
        raise ValueError(f"must end after it begins, got {phrase!r}")
    return first, last


def _seconds(text: str, phrase: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e9:
        raise ValueError(f"times must be seconds in 0..1e9, got {text!r} in {phrase!r}")
    return seconds
