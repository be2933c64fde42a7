"""The guard, in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from gossipllm.work import Evaluated
from peers.core.round.decision.choosing import SHRINK_TRIES, Choice, alone, judged, shrunk_rows
from trust.rows.rows import Candidate

ROWS = (Candidate(2.0, (0.5, 0.5)), Candidate(1.0, (0.75, 0.25)))


def judge(
    proposed: Sequence[float],
    *,
    gains: Sequence[float] | None = None,
    errors: Sequence[float] = (0.0, 0.0),
    own: float = 1.0,
    least: float = 0.0,
) -> Choice | None:
    """What the guard says of `ROWS` with these losses; gains are those of the same windows unless given."""
    given = gains if gains is not None else [own - loss for loss in proposed]
    answer = Evaluated(
        request=1,
        losses=(*proposed, own),
        proposed=(*proposed, own),
        gains=(*given, 0.0),
        errors=(*errors, 0.0),
    )
    return judged(ROWS, answer, errors=least)


def row_of(choice: Choice | None) -> tuple[str, tuple[float, ...]]:
    assert choice is not None
    return choice.guard, choice.row


def test_the_least_loss_is_taken() -> None:
    choice = judge((0.9, 0.8))
    assert choice is not None
    assert (choice.row, choice.temperature, choice.guard) == ((0.75, 0.25), 1.0, "taken")


@pytest.mark.parametrize("losses", [(1.0, 1.0), (1.1, 1.2)])
def test_what_is_not_better_is_not_taken(losses: tuple[float, float]) -> None:
    assert row_of(judge(losses))[0] == "refused"


@pytest.mark.parametrize("losses", [(math.nan, math.nan), (math.inf, math.nan)])
def test_of_rows_without_a_loss_none_is_chosen(losses: tuple[float, float]) -> None:
    assert judge(losses) is None


def test_the_windows_that_proposed_a_row_do_not_judge_it() -> None:
    best_where_it_was_chosen = judge((0.5, 0.9), gains=(-0.1, 0.3))
    assert row_of(best_where_it_was_chosen) == ("refused", (0.5, 0.5))


def test_a_row_is_chosen_by_the_windows_that_propose_however_well_another_does_where_rows_are_judged() -> (
    None
):
    assert row_of(judge((0.5, 0.9), gains=(0.1, 0.3))) == ("taken", (0.5, 0.5))


@pytest.mark.parametrize(("gain", "guard"), [(0.021, "taken"), (0.020, "refused"), (0.019, "refused")])
def test_a_gain_counts_above_the_standard_errors_that_are_asked_for(gain: float, guard: str) -> None:
    choice = judge((0.5, 0.9), gains=(gain, 0.0), errors=(0.01, 0.0), least=2.0)
    assert choice is not None
    assert (choice.guard, choice.gain, choice.gain_error) == (guard, gain, 0.01)


def test_no_number_never_wins() -> None:
    assert row_of(judge((math.nan, 0.9))) == ("taken", (0.75, 0.25))
    assert judge((math.nan, -math.inf)) is None


def test_who_has_lost_its_own_way_takes_any_that_is_measured() -> None:
    nothing = (math.nan, math.nan)
    choice = judge((math.nan, 5.0), gains=nothing, errors=nothing, own=math.nan, least=3.0)
    assert row_of(choice) == ("taken", (0.75, 0.25))


def test_the_best_is_tried_nearer_and_nearer_to_oneself() -> None:
    rows = shrunk_rows(ROWS, (1.2, 1.1))
    assert [one.row for one in rows] == [(0.875, 0.125), (0.9375, 0.0625), (0.96875, 0.03125)]
    assert len(rows) == SHRINK_TRIES


def test_alone_keeps_everything() -> None:
    assert alone(2) == (1.0, 0.0, 0.0)
