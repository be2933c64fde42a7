"""Whatever the evidence says, newcomers stay within their joint cap and the peer itself keeps its share."""

from __future__ import annotations

import math

import pytest

from trust.rows.bounds import bounded, by_certainty, by_credit, by_gain
from trust.rows.standing import lowered, raised


def test_newcomers_have_a_joint_cap_and_what_is_taken_goes_to_the_peer_itself() -> None:
    row = bounded((0.1, 0.3, 0.3, 0.3), (True, False, False), newcomers=0.2, own_share=0.0)
    assert row == pytest.approx((0.5, 0.3, 0.1, 0.1))


def test_a_thousand_newcomers_have_no_more_together_than_one() -> None:
    share = 0.99 / 1000
    row = bounded((0.01, *[share] * 1000), [False] * 1000, newcomers=0.25, own_share=0.0)
    assert math.fsum(row[1:]) == pytest.approx(0.25)


def test_the_peer_itself_keeps_its_share_whoever_else_is_trusted() -> None:
    row = bounded((0.0, 0.75, 0.25), (True, True), newcomers=0.5, own_share=0.2)
    assert row == pytest.approx((0.2, 0.6, 0.2))


def test_without_bounds_a_row_stays_as_it_is_bit_for_bit() -> None:
    row = (0.1, 0.3, 0.6)
    assert bounded(row, (False, False), newcomers=1.0, own_share=0.0) == row


def test_weights_go_by_what_each_neighbour_gives_and_the_rest_stays_at_home() -> None:
    assert by_gain((0.1, 0.5, 0.4), (0.2, 0.05)) == pytest.approx((0.4, 0.5, 0.1))


def test_equal_gains_leave_a_row_as_it_is() -> None:
    assert by_gain((0.2, 0.5, 0.3), (0.1, 0.1)) == pytest.approx((0.2, 0.5, 0.3))
    assert by_gain((1.0,), ()) == (1.0,)


def test_a_gain_counts_up_to_the_median_gain() -> None:
    row = by_credit((0.1, 0.3, 0.3, 0.3), (0.01, 0.01, 0.05), (0.0, 0.0, 0.0), left=(), credit=2.0)
    assert row == pytest.approx((0.1, 0.3, 0.3, 0.3))


def test_who_has_less_standing_than_the_median_has_less_weight_by_the_power() -> None:
    row = by_credit((0.1, 0.3, 0.3, 0.3), (0.01, 0.01, 0.01), (1.0, 0.5, 0.25), left=(), credit=2.0)
    assert row == pytest.approx((0.1 + 0.3 * 0.75, 0.3, 0.3, 0.3 / 4))


def test_whoever_alternates_between_gain_and_harm_has_a_ninth_of_a_steady_neighbours_weight() -> None:
    steady, fickle = 0.0, 0.0
    for round_ in range(4):
        steady = raised(steady)
        fickle = raised(fickle) if round_ % 2 == 0 else lowered(fickle)
    row = by_credit((0.1, 0.45, 0.45), (0.01, 0.03), (steady, fickle), left=(), credit=2.0)
    assert row[2] < row[1] / 9


def test_who_is_alone_in_a_row_is_held_against_the_standing_of_those_that_were_tried_in_vain() -> None:
    row, alone = (0.5, 0.5), ((0.01,), (0.25,))
    assert by_credit(row, *alone, left=(1.0, 1.0, 0.5), credit=2.0) == pytest.approx((1 - 0.5 / 16, 0.5 / 16))
    assert by_credit(row, (0.01,), (1.0,), left=(1.0, 1.0, 0.5), credit=2.0) == row


def test_a_newcomer_that_alone_gives_something_beside_proven_neighbours_is_not_shut_out() -> None:
    row = by_credit((0.5, 0.5), (0.01,), (0.0,), left=(0.5, 0.5), credit=2.0)
    assert row == pytest.approx((1 - 0.5 / 4, 0.5 / 4))


def test_an_only_neighbour_has_its_whole_weight_whatever_its_standing() -> None:
    for standing in (0.0, 0.25, 1.0):
        assert by_credit((0.5, 0.5), (0.01,), (standing,), left=(), credit=2.0) == (0.5, 0.5)


def test_newcomers_that_give_nothing_have_no_part_in_the_typical_standing() -> None:
    row, members = (0.2, 0.4, 0.4), ((0.01, 0.01), (1.0, 0.25))
    crowd = [0.0] * 1000
    assert by_credit(row, *members, left=crowd, credit=2.0) == by_credit(row, *members, left=(), credit=2.0)


def test_where_most_have_no_standing_yet_standing_says_nothing() -> None:
    row = by_credit((0.1, 0.3, 0.3, 0.3), (0.01, 0.01, 0.01), (1.0, 0.0, 0.0), left=(), credit=2.0)
    assert row == pytest.approx((0.1, 0.3, 0.3, 0.3))


def test_without_credit_weights_go_by_the_gains_of_the_round() -> None:
    row, gains = (0.1, 0.5, 0.4), (0.2, 0.05)
    assert by_credit(row, gains, (0.0, 1.0), left=(), credit=0.0) == by_gain(row, gains)
    assert by_credit((1.0,), (), (), left=(), credit=2.0) == (1.0,)


def test_a_row_is_taken_as_far_as_it_is_certain() -> None:
    assert by_certainty((0.5, 0.3, 0.2), 0.5) == pytest.approx((0.75, 0.15, 0.1))
    assert by_certainty((0.5, 0.5), 0.0) == (1.0, 0.0)
    row = (0.1, 0.3, 0.6)
    assert by_certainty(row, 1.0) is row
