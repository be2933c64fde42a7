"""Virtual time as a heap of planned calls. Calls planned for one instant happen in the order of planning."""

from __future__ import annotations

import gc
import heapq
from collections.abc import Callable
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")

EPOCH = 1_000_000.0
"""Seconds at which every world begins. Not 0, because peers take their clock for Unix time."""


class Agenda:
    """`now` moves only while `run` runs. A planned call is never cancelled: it checks whether it still applies."""

    def __init__(self) -> None:
        self.now = EPOCH
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._sequence = 0

    def after(self, delay_s: float, act: Callable[[*Ts], object], *details: *Ts) -> None:
        """Call `act(*details)` when `delay_s` seconds have passed; `delay_s` is not negative."""
        self._sequence += 1
        heapq.heappush(self._heap, (self.now + delay_s, self._sequence, act, details))

    def run(self, *, seconds: float, until: Callable[[], bool] | None, most: int) -> None:
        """Let time pass. Raises `RuntimeError` after `most` calls: a world that makes no progress is a fault.

        The garbage collector runs between calls of `run`, not during them: it walks all objects of a thousand peers,
        which took a seventh of the time, and almost none of them form cycles.
        """
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._run(seconds, until, most)
        finally:
            if collecting:
                gc.enable()

    def _run(self, seconds: float, until: Callable[[], bool] | None, most: int) -> None:
        end, heap = self.now + seconds, self._heap
        for _ in range(most):
            if until is not None and until():
                return
            if not heap or heap[0][0] > end:
                self.now = end
                return
            self.now, _, act, details = heapq.heappop(heap)
            act(*details)
        raise RuntimeError(f"more than {most} events in {seconds} virtual seconds")
