"""A learner that answers as another does, but for the next answer where a fault asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from gossipllm.work import Evaluated, Failed, Merged, Request, Weighed
from peers.core.events import LearnerAnswer
from sim.world.simulated_peer import SimulatedLearner

Flaw: TypeAlias = Literal["", "fails", "is not finite"]


class FaultyLearner:
    """`next_answer` is the flaw of the next answer, empty for none."""

    def __init__(self, inner: SimulatedLearner) -> None:
        self.inner = inner
        self.next_answer: Flaw = ""

    def ask(self, request: Request) -> Callable[[], LearnerAnswer]:
        answer = self.inner.ask(request)
        return lambda: self._flawed(answer())

    def _flawed(self, answer: LearnerAnswer) -> LearnerAnswer:
        flaw, self.next_answer = self.next_answer, ""
        match flaw, answer:
            case "fails", _:
                return Failed(request=answer.request, why="out of memory", users_fault=False)
            case "is not finite", Evaluated():
                nothing = (math.nan,) * len(answer.losses)
                return msgspec.structs.replace(answer, losses=nothing, proposed=nothing, gains=nothing)
            case "is not finite", Weighed():
                return msgspec.structs.replace(answer, distances=(math.nan,) * len(answer.distances))
            case "is not finite", Merged():
                return msgspec.structs.replace(answer, trust_loss=math.nan)
            case _:
                return answer
