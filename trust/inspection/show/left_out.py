"""Lines below the tables of `trust show` about neighbours that were left out of a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from trust.inspection.reading.summary import Summary

_MOST_NAMES: Final = 5
"""Neighbours named for each reason; a flood of identities must not fill the screen."""


def leaves_out(shown: Summary) -> bool:
    """Whether any peer left out any neighbour."""
    return any(row.left_out for row in shown.rows)


def reasons(shown: Summary, names: Sequence[str]) -> Iterable[str]:
    """A line for each peer that left others out: whom and why. `names` are the short names of all peers."""
    name_of = {peer.peer: name for peer, name in zip(shown.peers, names, strict=True)}
    for row in shown.rows:
        named: dict[str, list[str]] = {}
        for peer, why in row.left_out.items():
            named.setdefault(why, []).append(name_of[peer])
        if named:
            parts = "; ".join(f"{why} {_listed(named[why])}" for why in sorted(named))
            yield f"{name_of[row.peer]} left out: {parts}"
    yield "more about each: gossipllm trust explain"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
