"""Batches the questions of a world's peers, so that a learner pool answers many of them in one pass.

The world asks a question when a peer does, and needs the answer at a later virtual time. A question waits in the queue
until the first answer is needed; then the pool answers all waiting questions together, and the other answers are kept
for their time. Questions that are open at the same virtual time thus share one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from gossipllm.work import Answer, Progress, Request
from peers.core.events import LearnerAnswer

L = TypeVar("L")
"""The learner of a peer, of the type that the pool answers for."""
L_contra = TypeVar("L_contra", contravariant=True)


class AnswersTogether(Protocol[L_contra]):
    """A pool of learners (`gossipllm.learning.learner_pool.LearnerPool`): answers many questions, in their order."""

    def answer(self, asked: Sequence[tuple[L_contra, Request]], /) -> Sequence[Answer]: ...


class QuestionQueue(Generic[L]):
    """The open questions of a world's peers."""

    def __init__(self, pool: AnswersTogether[L]) -> None:
        self._pool = pool
        self._waiting: list[tuple[_Slip, L, Request]] = []

    def ask(self, learner: L, request: Request) -> Callable[[], LearnerAnswer]:
        slip = _Slip()
        self._waiting.append((slip, learner, request))

        def answer() -> LearnerAnswer:
            if slip.answer is None:
                self._answer_all()
            assert slip.answer is not None, "every waiting question is answered"
            return slip.answer

        return answer

    def dismiss(self, learner: L) -> None:
        """Forget this learner's questions: their answers are not needed any more."""
        self._waiting = [waiting for waiting in self._waiting if waiting[1] is not learner]

    def _answer_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        answers = self._pool.answer([(learner, request) for _, learner, request in waiting])
        for (slip, _, _), answer in zip(waiting, answers, strict=True):
            assert not isinstance(answer, Progress), "a pool answers, it does not report progress"
            slip.answer = answer


class PooledLearner(Generic[L]):
    """A peer's learner behind the queue; `World.add` is given a function that makes a new one for each start."""

    def __init__(self, queue: QuestionQueue[L], learner: L) -> None:
        self._queue = queue
        self._learner = learner

    def ask(self, request: Request) -> Callable[[], LearnerAnswer]:
        return self._queue.ask(self._learner, request)

    def dismiss(self) -> None:
        """Forget its questions, because its peer crashed."""
        self._queue.dismiss(self._learner)


class _Slip:
    """Holds the answer of one question, once it is there."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: LearnerAnswer | None = None
