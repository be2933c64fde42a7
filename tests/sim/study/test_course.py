"""Tests of what a loss costs along a course."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.study.course import Point, course_of, loss_at, spent_to
from trust.record.cost import Cost
from trust.record.history import Begun, Entry, Record, Round, Traffic


def point(tokens: int, loss: float) -> Point:
    return Point(seconds=tokens / 10, tokens=tokens, bytes=3 * tokens, joules=2.0 * tokens, loss=loss)


COURSE = (point(0, 6.0), point(100, 5.0), point(200, 5.5), point(300, 4.0))


def test_a_target_between_two_points_is_reached_along_a_line() -> None:
    spent = spent_to(COURSE, 5.25)
    assert spent is not None
    assert (spent.tokens, spent.seconds, spent.joules, spent.bytes) == (75, 7.5, 150, 225)


def test_a_loss_that_rises_again_does_not_take_back_what_was_reached() -> None:
    spent = spent_to(COURSE, 5.0)
    assert spent is not None
    assert spent.tokens == 100


def test_a_target_below_all_losses_is_never_reached() -> None:
    assert spent_to(COURSE, 3.9) is None
    assert loss_at(COURSE, 400) is None


def test_a_target_above_the_first_loss_costs_nothing_that_could_be_compared() -> None:
    assert spent_to(COURSE, 7.0) is None


@given(st.floats(4.01, 5.99), st.floats(4.01, 5.99))
def test_a_lower_loss_never_costs_less(one: float, other: float) -> None:
    costs = [spent_to(COURSE, loss) for loss in sorted((one, other))]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[0].tokens >= costs[1].tokens


def test_the_loss_at_a_budget_is_between_points_and_forgives_a_last_step_that_lacks() -> None:
    assert loss_at(COURSE, 250) == 4.75
    assert loss_at(COURSE, 305) == 4.0


def entry(at_s: float, record: Record, sent: int) -> Entry:
    return Entry(at_s=at_s, traffic=Traffic(sent={"blob": sent}, received={}), record=record)


def begun(peer: str, loss: float) -> Begun:
    return Begun(
        peer=peer, name=peer, round=0, base="", tokenizer="", reference="", layout="", strategy="", merge="",
        test_loss=loss,
    )  # fmt: skip


def round_of(peer: str, tokens: int, loss: float, joules: float) -> Round:
    return Round(
        peer=peer, round=0, self_weight=1.0, seen=(), train_loss=0.0, trust_alone=0.0, trust_merged=0.0,
        test_alone=9.0, test_merged=loss, temperature=None, tried=(), guard="taken", tokens=tokens, samples=0,
        steps=1, train_s=0.0, gather_s=0.0, merge_s=0.0, discarded=0.0, tokens_total=tokens,
        cost=Cost(joules=joules, method="virtual", seconds=1.0),
    )  # fmt: skip


def test_a_course_adds_up_peers_each_between_its_own_records() -> None:
    course = course_of(
        [
            entry(10.0, begun("fast", 6.0), 0),
            entry(10.0, begun("slow", 8.0), 0),
            entry(12.0, round_of("fast", 100, 4.0, 5.0), 30),
            entry(13.0, round_of("fast", 200, 3.0, 5.0), 60),
            entry(16.0, round_of("slow", 60, 5.0, 1.0), 40),
        ],
        began_s=10.0,
    )
    assert [one.seconds for one in course] == [0.0, 2.0, 3.0, 6.0]
    assert [one.loss for one in course] == [7.0, 5.5, 4.75, 4.0]
    assert [one.tokens for one in course] == [0, 120, 230, 260]
    assert (course[-1].bytes, course[-1].joules) == (100, pytest.approx(11.0))


def test_who_writes_the_record_of_a_common_round_first_changes_no_cost() -> None:
    """A second between the two records of one round is no second in which half of the tokens were saved."""
    course = course_of(
        [
            entry(0.0, begun("one", 6.0), 0),
            entry(0.0, begun("other", 6.0), 0),
            entry(10.0, round_of("one", 100, 4.0, 5.0), 30),
            entry(10.1, round_of("other", 100, 4.0, 5.0), 30),
        ],
        began_s=0.0,
    )
    spent = spent_to(course, 5.0)
    assert spent is not None
    assert (spent.tokens, spent.seconds) == (pytest.approx(100, abs=1), pytest.approx(5.0, abs=0.1))
