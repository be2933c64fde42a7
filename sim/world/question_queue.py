"""Learners of a world whose questions are answered together: a crew sees everything asked so far at once.

The world asks when a peer does, and wants the answer when virtual time has come to it. So a question waits here
until the first answer is wanted; then all that wait are answered in one go, and the answers kept for their time.
Questions that meet in virtual time so meet in one forward pass, whatever the order in which peers ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from gossipllm.work import Answer, Progress, Request
from peers.core.events import LearnerAnswer

L = TypeVar("L")
"""One peer's learner, whatever the crew has them be."""
L_contra = TypeVar("L_contra", contravariant=True)


class AnswersTogether(Protocol[L_contra]):
    """What is needed of `gossipllm.learning.learner_pool.LearnerPool`: answers to many questions, in their order."""

    def answer(self, asked: Sequence[tuple[L_contra, Request]], /) -> Sequence[Answer]: ...


class QuestionQueue(Generic[L]):
    """Where the questions of a world's peers wait."""

    def __init__(self, crew: AnswersTogether[L]) -> None:
        self._crew = crew
        self._waiting: list[tuple[_Slip, L, Request]] = []

    def ask(self, learner: L, request: Request) -> Callable[[], LearnerAnswer]:
        slip = _Slip()
        self._waiting.append((slip, learner, request))

        def answer() -> LearnerAnswer:
            if slip.answer is None:
                self._answer_all()
            assert slip.answer is not None, "whatever waited was answered"
            return slip.answer

        return answer

    def dismiss(self, learner: L) -> None:
        """Forget what this learner was asked: nobody will want the answers."""
        self._waiting = [one for one in self._waiting if one[1] is not learner]

    def _answer_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        answers = self._crew.answer([(learner, request) for _, learner, request in waiting])
        for (slip, _, _), answer in zip(waiting, answers, strict=True):
            assert not isinstance(answer, Progress), "a crew answers, it does not report"
            slip.answer = answer


class PooledLearner(Generic[L]):
    """One peer's learner at the desk: what `World.add` wants made for each life of a peer."""

    def __init__(self, desk: QuestionQueue[L], learner: L) -> None:
        self._desk = desk
        self._learner = learner

    def ask(self, request: Request) -> Callable[[], LearnerAnswer]:
        return self._desk.ask(self._learner, request)

    def dismiss(self) -> None:
        """Its peer crashed: forget what it was asked."""
        self._desk.dismiss(self._learner)


class _Slip:
    """A question's place for its answer."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: LearnerAnswer | None = None
