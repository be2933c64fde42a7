"""The toy learner behind the driver's boundary, in place of the learner's process."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import trio

from gossipllm.work import Open, Progress, Request, Train
from peers.run.learner.process import Lost
from sim.toy.learner import ToyLearner


class ToyLearning:
    """The toy learner behind the driver's boundary; `die_at` is how many requests it takes before it dies, `train_s`
    how long it trains, so that peers can meet during a round."""

    def __init__(
        self, target: list[float], *, base: str = "toy", die_at: float = math.inf, train_s: float = 0.0
    ) -> None:
        self._to_ask, self._asked = trio.open_memory_channel[Request](100)
        self._make = lambda: ToyLearner(target, base=base)
        self._die_at = die_at
        self._train_s = train_s
        self.opened = 0

    def ask(self, request: Request) -> None:
        self._to_ask.send_nowait(request)

    async def run(self, answered: Callable[[Any], None], lost: Lost) -> None:
        learner, taken = self._make(), 0
        async for request in self._asked:
            if isinstance(request, Open):
                learner = self._make()
                self.opened += 1
            taken += 1
            if taken == self._die_at:
                lost("killed by SIGKILL", False)
                continue
            answered(
                Progress(request=request.request, phase="toy", step=1, steps=1, loss=0.0, tokens_per_s=1.0)
            )
            if self._train_s and isinstance(request, Train):
                await trio.sleep(self._train_s)
            answered(learner.answer(request))
