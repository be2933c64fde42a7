"""Questions to the learners of a world are answered in batches."""

from __future__ import annotations

from collections.abc import Sequence

from gossipllm.work import Evaluate, Evaluated, Request
from peers.core.events import LearnerAnswer
from sim.world.fetching.question_queue import PooledLearner, QuestionQueue


class CountingPool:
    """A learner pool that answers with the learner's number, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def answer(self, asked: Sequence[tuple[int, Request]]) -> list[Evaluated]:
        self.batches.append([(learner, request.request) for learner, request in asked])
        return [
            Evaluated(
                request=one.request,
                losses=(float(learner),),
                proposed=(float(learner),),
                gains=(0.0,),
                errors=(0.0,),
            )
            for learner, one in asked
        ]


def question(request: int) -> Evaluate:
    return Evaluate(request=request, rows=((1.0,),), updates=())


def losses(answer: LearnerAnswer) -> tuple[float, ...]:
    assert isinstance(answer, Evaluated)
    return answer.losses


def test_the_first_answer_needed_computes_all_waiting_questions_in_one_batch() -> None:
    pool = CountingPool()
    queue = QuestionQueue(pool)
    learners = [PooledLearner(queue, number) for number in range(3)]
    answers = [learner.ask(question(10 + n)) for n, learner in enumerate(learners)]
    assert pool.batches == []
    assert [answer().request for answer in reversed(answers)] == [12, 11, 10]
    assert pool.batches == [[(0, 10), (1, 11), (2, 12)]]


def test_each_answer_belongs_to_its_question() -> None:
    queue = QuestionQueue(CountingPool())
    ones = [PooledLearner(queue, 1).ask(question(n)) for n in range(3)]
    twos = [PooledLearner(queue, 2).ask(question(n)) for n in range(3)]
    assert [losses(answer()) for answer in (*twos, *ones)] == [(2.0,)] * 3 + [(1.0,)] * 3


def test_a_question_asked_after_a_batch_waits_for_the_next_one() -> None:
    pool = CountingPool()
    queue = QuestionQueue(pool)
    first = PooledLearner(queue, 1).ask(question(1))
    first()
    second = PooledLearner(queue, 2).ask(question(2))
    second()
    assert pool.batches == [[(1, 1)], [(2, 2)]]


def test_a_crashed_peers_questions_are_not_computed() -> None:
    pool = CountingPool()
    queue = QuestionQueue(pool)
    crashed, alive = PooledLearner(queue, 1), PooledLearner(queue, 2)
    crashed.ask(question(1))
    answer = alive.ask(question(2))
    crashed.dismiss()
    answer()
    assert pool.batches == [[(2, 2)]]
