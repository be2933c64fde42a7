"""How certain a merge's gain is: by itself, beside those before it, and where nothing is known."""

from __future__ import annotations

import math

import pytest

from trust.rows.certainty import FADE, NO_MERITS, Merits


@pytest.mark.parametrize(
    ("gain", "error", "doubt", "certainty"),
    [
        (0.1, 0.1, 1.0, 0.5),
        (0.2, 0.1, 1.0, 0.8),
        (0.1, 0.1, 2.0, 0.2),
        (0.1, 0.2, 0.0, 1.0),
        (1.0, 1e-9, 1.0, 1.0),
    ],
)
def test_the_first_gain_counts_by_its_square_beside_that_of_its_error(
    gain: float, error: float, doubt: float, certainty: float
) -> None:
    assert NO_MERITS.certainty(gain, error, doubt=doubt) == pytest.approx(certainty)


def judged(*merges: tuple[float, float]) -> Merits:
    merits = NO_MERITS
    for gain, error in merges:
        merits = merits.after(gain, error)
    return merits


def test_who_gains_again_and_again_becomes_certain() -> None:
    merits, certainties = NO_MERITS, list[float]()
    for _ in range(6):
        certainties.append(merits.certainty(0.1, 0.1, doubt=1.0))
        merits = merits.after(0.1, 0.1)
    assert certainties == sorted(certainties)
    assert certainties[0] == pytest.approx(0.5)
    assert certainties[-1] > 0.75


def test_where_gains_and_losses_cancel_chance_moves_little() -> None:
    merits = judged((0.1, 0.1), (-0.1, 0.1), (0.08, 0.1), (-0.1, 0.1))
    assert merits.certainty(0.1, 0.1, doubt=1.0) < 0.25


def test_sums_fade() -> None:
    merits = judged((0.2, 0.1), (0.0, 0.1))
    assert merits.gain == pytest.approx(FADE**2 * 0.2)
    assert merits.variance == pytest.approx((FADE**2 + FADE) * 0.01)


def test_one_merge_that_lost_much_counts_up_to_its_error() -> None:
    assert judged((-50.0, 0.1)) == judged((-0.1, 0.1))


def test_where_earlier_losses_outweigh_a_gain_it_stands_alone_and_their_errors_count() -> None:
    merits = judged((-0.1, 0.1), (-0.1, 0.1))
    assert 0 < merits.certainty(0.05, 0.1, doubt=1.0) < NO_MERITS.certainty(0.05, 0.1, doubt=1.0)


@pytest.mark.parametrize(
    ("gain", "error"),
    [(0.0, 0.1), (-0.1, 0.1), (math.nan, 0.1), (math.inf, 0.1), (0.1, 0.0), (0.1, math.nan), (0.1, math.inf)],
)
def test_where_gain_or_error_say_nothing_nothing_is_held_back(gain: float, error: float) -> None:
    assert judged((0.1, 0.1)).certainty(gain, error, doubt=1.0) == 1.0


@pytest.mark.parametrize(("gain", "error"), [(math.nan, 0.1), (0.1, math.nan), (0.1, 0.0), (math.inf, 0.1)])
def test_what_was_not_measured_is_not_remembered(gain: float, error: float) -> None:
    assert NO_MERITS.after(gain, error) is NO_MERITS


def test_the_smallest_and_largest_of_numbers_divide_by_nothing() -> None:
    assert NO_MERITS.certainty(5e-324, 1e150, doubt=10.0) == 0.0
    assert 0 <= judged((1e-300, 1e150)).certainty(1e-300, 1e-300, doubt=10.0) <= 1
