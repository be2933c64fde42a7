"""Questions that wait together are answered together."""

from __future__ import annotations

from gossipllm.work import Evaluate, Evaluated
from sim.world.question_queue import PooledLearner, QuestionQueue


class Counting:
    """A crew that answers with the learner's number, and remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def answer(self, asked):
        self.batches.append([(learner, request.request) for learner, request in asked])
        return [Evaluated(request=one.request, losses=(float(who),), errors=(0.0,)) for who, one in asked]


def question(request: int) -> Evaluate:
    return Evaluate(request=request, rows=((1.0,),), updates=())


def test_the_first_answer_that_is_wanted_answers_everything_asked_so_far():
    pool = Counting()
    desk = QuestionQueue(pool)
    learners = [PooledLearner(desk, number) for number in range(3)]
    answers = [learner.ask(question(10 + n)) for n, learner in enumerate(learners)]
    assert pool.batches == []
    assert [answer().request for answer in reversed(answers)] == [12, 11, 10]
    assert pool.batches == [[(0, 10), (1, 11), (2, 12)]]


def test_each_answer_is_the_one_to_its_own_question():
    desk = QuestionQueue(Counting())
    ones = [PooledLearner(desk, 1).ask(question(n)) for n in range(3)]
    twos = [PooledLearner(desk, 2).ask(question(n)) for n in range(3)]
    assert [answer().losses for answer in (*twos, *ones)] == [(2.0,)] * 3 + [(1.0,)] * 3


def test_what_was_asked_later_waits_for_its_own_time():
    pool = Counting()
    desk = QuestionQueue(pool)
    first = PooledLearner(desk, 1).ask(question(1))
    first()
    second = PooledLearner(desk, 2).ask(question(2))
    second()
    assert pool.batches == [[(1, 1)], [(2, 2)]]


def test_a_crashed_peers_questions_are_not_computed():
    pool = Counting()
    desk = QuestionQueue(pool)
    crashed, alive = PooledLearner(desk, 1), PooledLearner(desk, 2)
    crashed.ask(question(1))
    answer = alive.ask(question(2))
    crashed.dismiss()
    answer()
    assert pool.batches == [[(2, 2)]]
