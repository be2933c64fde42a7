"""A rate in all, shared fairly: who waits is served in turn, so one who asks much delays itself and not the others.

A plain bucket in all serves in the order of asking: a few connections that ask for a thousand units each would make an
honest one wait behind all of them. Here every asker has a queue of its own, and the queues take turns.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from wire.bounded import BoundedDict

MAX_WAITING: Final = 4_096
"""Askers that may wait; each of the connections has at most a few tasks, so this is never reached by their number."""

LEAST_WAIT_S: Final = 0.001


class FairBucket:
    """`burst` units at once and `rate_s` a second after that, for all askers together. `run` must run meanwhile."""

    def __init__(self, *, rate_s: float, burst: float) -> None:
        self._rate_s = rate_s
        self._burst = burst
        self._level = burst
        self._at: float | None = None
        self._waiting: BoundedDict[str, deque[trio.Event]] = BoundedDict(MAX_WAITING)
        """Asker -> its turns, first come first; the asker whose turn is next comes first."""
        self._asked = trio.Event()

    async def take(self, asker: str) -> None:
        """Wait until one unit may pass."""
        if not self._waiting and self._refilled() >= 1:
            self._level -= 1
            await trio.lowlevel.checkpoint()
            return
        turn = trio.Event()
        if asker not in self._waiting:
            self._waiting[asker] = deque()
        self._waiting[asker].append(turn)
        self._asked.set()
        try:
            await turn.wait()
        finally:
            if not turn.is_set():
                self._leave(asker, turn)

    async def run(self) -> None:
        """Give turns until cancelled."""
        while True:
            await self._asked.wait()
            while self._waiting:
                missing = 1 - self._refilled()
                if missing > 0:
                    # A floor, because a wait that rounding makes too short would be repeated without end.
                    await trio.sleep(max(missing / self._rate_s, LEAST_WAIT_S))
                    continue
                self._give_turn()
            self._asked = trio.Event()

    def _give_turn(self) -> None:
        asker = next(iter(self._waiting))
        turns = self._waiting.pop(asker)
        turns.popleft().set()
        if turns:
            self._waiting[asker] = turns
        self._level -= 1

    def _leave(self, asker: str, turn: trio.Event) -> None:
        turns = self._waiting.get(asker)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[asker]

    def _refilled(self) -> float:
        now = trio.current_time()
        if self._at is not None:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate_s)
        self._at = now
        return self._level
