"""Spoilers: neighbours that are named to the user when two merges in a row were refused.

A single refused merge is nothing to worry about. Where it happens again, the user is told who did harm, by how much,
and what this peer did about it. The same neighbour is named once an hour, and there is at most one such line a round.
"""

from __future__ import annotations

from typing import Final

from peers.core.effects import Log
from peers.core.events import PeerId
from peers.core.others.standing.complaints import REPORT_AGAIN_S
from peers.core.round.learner_supervision import note
from trust.names import escaped
from trust.record.history import Round, Seen
from wire.bounded import BoundedDict

IN_A_ROW: Final = 2
"""Refused merges in a row after which the spoilers are named."""
MAX_NAMED: Final = 4
"""Spoilers named in one line."""
_MAX_REMEMBERED: Final = 512
"""Spoilers that are remembered as named; the oldest is forgotten first, and may then be named too early."""
_NAME: Final = 32
"""Longest part of a name that is shown, in characters."""
_WHY: Final = {
    "harmful": "raised the trust loss",
    "loud": "update far too large",
    "unbound": "predictions not those of its update",
}


class Spoilers:
    def __init__(self, me: PeerId) -> None:
        self._me = me
        self._refused = 0
        self._named_at = BoundedDict[PeerId, float](_MAX_REMEMBERED)

    def after(self, record: Round, now: float) -> list[Log]:
        """The line to log after this round, if there is one.

        A round without neighbours, or in which none could be tried, neither counts nor ends a row of refusals.
        """
        if record.guard == "alone" or not any(seen.left != "paused" for seen in record.seen):
            return []
        self._refused = self._refused + 1 if record.guard == "refused" else 0
        if self._refused < IN_A_ROW:
            return []
        fresh = [seen for seen in record.seen if seen.left in _WHY and not self._told_of(seen.peer, now)]
        if not fresh:
            return []
        for seen in fresh:
            self._named_at.renew(seen.peer, now)
        return [note(self._me, "warning", _text(record, self._refused, fresh))]

    def _told_of(self, peer: PeerId, now: float) -> bool:
        last = self._named_at.get(peer)
        return last is not None and now - last < REPORT_AGAIN_S


def _text(record: Round, refused: int, spoilers: list[Seen]) -> str:
    named = ", ".join(map(_spoiler, spoilers[:MAX_NAMED]))
    more = len(spoilers) - MAX_NAMED
    others = f" and {more} more" if more > 0 else ""
    left_all = all(seen.left is not None for seen in record.seen)
    done = (
        "They were left out, and nobody else helped, so this peer trained alone"
        if left_all
        else "They were left out, and the others did not help together, so this peer kept its own"
    )
    return f"{refused} merges in a row were refused: {named}{others}. {done}"


def _spoiler(seen: Seen) -> str:
    assert seen.left is not None, "a spoiler was left out"
    gain = "" if seen.gain is None else f", {seen.gain:+.2g}"
    return f"{escaped(seen.name or seen.peer, _NAME)} ({_WHY[seen.left]}{gain})"
