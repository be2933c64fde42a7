"""Whatever the evidence says, newcomers stay within their joint cap and the peer itself keeps its share."""

from __future__ import annotations

import math

import pytest

from trust.rows.bounds import bounded, by_gain


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
