"""The guard, in numbers."""

from __future__ import annotations

import math

import pytest

from peers.core.round.choosing import SHRINK_TRIES, alone, choice_of, shrunk_rows
from trust.rows.rows import Candidate

ROWS = (Candidate(2.0, (0.5, 0.5)), Candidate(1.0, (0.75, 0.25)))


def test_the_least_loss_is_taken() -> None:
    choice = choice_of(ROWS, (0.9, 0.8), 1.0)
    assert choice is not None
    assert (choice.row, choice.temperature, choice.guard) == ((0.75, 0.25), 1.0, "taken")


@pytest.mark.parametrize("losses", [(1.0, 1.0), (1.1, 1.2), (math.nan, math.nan), (math.inf, math.nan)])
def test_what_is_not_better_is_not_taken(losses: tuple[float, float]) -> None:
    assert choice_of(ROWS, losses, 1.0) is None


def test_no_number_never_wins() -> None:
    choice = choice_of(ROWS, (math.nan, 0.9), 1.0)
    assert choice is not None
    assert choice.row == (0.75, 0.25)
    assert choice_of(ROWS, (math.nan, -math.inf), math.inf) is None


def test_who_has_lost_its_own_way_takes_any_that_is_measured() -> None:
    choice = choice_of(ROWS, (math.nan, 5.0), math.nan)
    assert choice is not None
    assert choice.row == (0.75, 0.25)


def test_the_best_is_tried_nearer_and_nearer_to_oneself() -> None:
    rows = shrunk_rows(ROWS, (1.2, 1.1))
    assert [one.row for one in rows] == [(0.875, 0.125), (0.9375, 0.0625), (0.96875, 0.03125)]
    assert len(rows) == SHRINK_TRIES


def test_alone_keeps_everything() -> None:
    assert alone(2) == (1.0, 0.0, 0.0)
