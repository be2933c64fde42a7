"""The course of a peer: what training alone would have reached, and when to go back."""

from __future__ import annotations

import math

import pytest

from peers.core.course import MARGIN, MAX_ALONE, Course


def alone(losses: list[float]) -> Course:
    """The course of a peer that never merged, with these losses after the local steps of its rounds."""
    course = Course()
    for loss in losses:
        course = course.stepped(loss).ended(loss, merged=False)
    return course


def test_until_the_first_merge_the_estimate_is_what_was_measured() -> None:
    assert alone([4.0, 3.5, 3.2]).alone == 3.2


def test_a_lone_learner_that_overtrains_is_as_bad_as_it_is() -> None:
    course = alone([4.0, 3.5, 3.9, 4.1])
    assert course.alone == 4.1
    assert course.behind == 0
    assert course.best == 3.5


def test_where_steps_alone_raise_the_loss_as_well_no_merge_is_to_blame() -> None:
    course = Course().stepped(1.0).ended(0.5, merged=True)
    for loss in (0.9, 1.2, 1.5):
        course = course.stepped(loss).ended(loss - 0.3, merged=True)
    assert course.behind >= 1
    course = course.returned(0.9)
    assert course.judging
    assert not course.blames(1.1)
    course = course.stepped(1.1)
    assert (course.waits, course.returns, course.behind, course.judging) == (0, 0, 0, False)


def test_where_steps_alone_lower_the_loss_the_merges_were_to_blame() -> None:
    course = alone([4.0, 3.5]).stepped(3.2).ended(3.1, merged=True).stepped(3.6).returned(3.2)
    assert course.blames(3.1)
    assert course.stepped(3.1).returns == 1


def test_afterwards_alone_falls_as_own_steps_fell_from_the_nearest_loss() -> None:
    course = alone([4.0, 3.5, 3.2])  # own steps: from 4.0 by 0.5, from 3.5 by 0.3
    course = course.stepped(3.0).ended(2.0, merged=True)  # from 3.2 by 0.2; merged down to 2.0
    course = course.stepped(1.95).ended(1.9, merged=True)  # from 2.0 by 0.05
    assert course.alone == pytest.approx(3.0 - 0.2 / 2)  # nothing was measured below 3.0
    course = course.stepped(1.9)
    assert course.alone == pytest.approx(2.9 - 0.1)
    assert course.behind == 0


def test_who_merged_in_the_first_round_has_an_estimate_from_the_third_on() -> None:
    course = Course().stepped(4.0).ended(3.8, merged=True)
    course = course.stepped(3.5).ended(3.3, merged=True)
    assert course.alone == 4.0
    course = course.stepped(3.1)
    assert course.alone == pytest.approx(4.0 - 0.3)


def test_below_all_that_was_measured_the_estimate_cannot_run_away() -> None:
    course = alone([4.0, 3.5]).stepped(3.2).ended(3.1, merged=True)
    for _ in range(100):
        course = course.stepped(3.3).ended(3.2, merged=True)
    assert course.alone is not None
    assert course.alone > 3.2 - 2 * 0.3


def test_steps_that_a_merge_spoiled_do_not_lower_the_estimate() -> None:
    course = alone([4.0, 3.5, 3.2]).ended(3.1, merged=True)
    for _ in range(3):
        course = course.stepped(3.4).ended(3.15, merged=True)
    assert course.alone == pytest.approx(3.2 - 0.3 * (1 / 2 + 1 / 4 + 1 / 8))
    assert course.behind == 3


def test_a_merge_that_lowers_the_loss_and_spoils_the_next_steps_is_found_out() -> None:
    course = alone([4.0, 3.5])
    course = course.stepped(3.2).ended(3.1, merged=True)
    for count in (1, 2, 3):
        course = course.stepped(3.3).ended(3.25, merged=True)
        assert course.behind == count


def test_a_peer_that_stays_within_the_margin_is_not_behind() -> None:
    course = alone([4.0, 3.5]).stepped(3.2).ended(3.2, merged=True)
    estimate = course.stepped(3.0).alone
    assert estimate is not None
    assert course.stepped(estimate + 0.9 * MARGIN).behind == 0
    assert course.stepped(estimate + 1.1 * MARGIN).behind == 1


def test_a_loss_that_is_no_number_is_behind_and_never_the_best() -> None:
    course = alone([4.0, 3.5])
    assert not course.improves(math.nan)
    course = course.stepped(math.nan)
    assert course.behind == 1
    assert course.best == 3.5


def test_who_goes_back_trains_alone_for_longer_each_time() -> None:
    course = alone([4.0, 3.5])
    waits: list[int] = []
    for _ in range(8):
        course = course.returned(3.5)
        waits.append(course.waits)
        assert course.behind == 0
    assert waits[:3] == [1, 2, 4]
    assert waits[-1] == MAX_ALONE


def test_a_round_alone_ends_the_waiting_by_one() -> None:
    course = alone([4.0]).returned(4.0).returned(4.0)
    assert course.waits == 2
    assert course.stepped(3.9).ended(3.9, merged=False).waits == 1


def test_the_memory_of_falls_is_bounded() -> None:
    assert len(alone([4.0 - 0.01 * n for n in range(200)]).falls) <= 64
