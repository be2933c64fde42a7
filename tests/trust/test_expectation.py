"""The sentence that tells a user what to expect: measured figures, and nothing made up beyond the measured points."""

from __future__ import annotations

import msgspec
import pytest

from support.records import begun_of, round_of
from trust.expectation import GAINS, RELATIVES, expectation, expected_gain, told


@pytest.mark.parametrize(("tokens", "gain"), GAINS)
def test_a_measured_amount_of_text_gives_the_measured_gain(tokens: int, gain: float) -> None:
    assert expected_gain(tokens) == pytest.approx(gain)


def test_between_measured_points_the_gain_lies_between_theirs() -> None:
    (low, before), (high, after), *_ = GAINS
    middle = expected_gain(round((low * high) ** 0.5))
    assert middle == pytest.approx((before + after) / 2, abs=1e-4)


def test_beyond_the_measured_points_the_sentence_says_where_its_figure_was_measured() -> None:
    most = GAINS[-1][0]
    assert expected_gain(100 * most) == GAINS[-1][1]
    assert f"measured with {most:,} tokens" in expectation(tokens=100 * most, relatives=2)
    assert f"measured with {GAINS[0][0]:,} tokens" in expectation(tokens=100, relatives=2)
    assert "measured with" not in expectation(tokens=most, relatives=2)


def test_without_relatives_nothing_is_promised() -> None:
    sentence = expectation(tokens=5_120, relatives=0)
    assert "no more than you reach alone" in sentence
    assert "%" not in sentence


@pytest.mark.parametrize(("relatives", "gain"), RELATIVES)
def test_a_measured_number_of_relatives_gives_the_measured_gain(relatives: int, gain: float) -> None:
    assert expected_gain(10_240, relatives) == pytest.approx(gain)


def test_more_relatives_are_promised_more_up_to_the_most_that_were_measured() -> None:
    gains = [expected_gain(5_120, relatives) for relatives in (1, 2, 3, 4)]

    assert gains == sorted(set(gains))
    assert expected_gain(5_120, 40) == gains[-1]
    assert expectation(tokens=5_120, relatives=1) == (
        "With 5,120 tokens and one peer with text of your kind, expect about 4 % less perplexity than the best you "
        "reach alone."
    )
    assert "40 peers" in expectation(tokens=100, relatives=40)
    assert "(measured with 2,560 tokens and 4 peers)" in expectation(tokens=100, relatives=40)


def test_a_history_tells_whose_weight_counts_and_how_much_text_there_is() -> None:
    begun = msgspec.structs.replace(begun_of("a"), train_tokens=5_120)
    rounds = [round_of("a", 0, {"b": 0.0}), round_of("a", 1, {"b": 0.25, "c": 0.0})]

    assert told([begun, *rounds]) == expectation(tokens=5_120, relatives=1)
    assert told([begun, rounds[0]]) == expectation(tokens=5_120, relatives=0)


def test_who_got_less_than_half_of_the_largest_weight_is_no_relative() -> None:
    begun = msgspec.structs.replace(begun_of("a"), train_tokens=5_120)
    merged = round_of("a", 0, {"b": 0.27, "c": 0.08, "d": 0.14})
    assert told([begun, merged]) == expectation(tokens=5_120, relatives=2)


def test_a_history_without_rounds_or_of_an_earlier_version_promises_nothing() -> None:
    assert told([msgspec.structs.replace(begun_of("a"), train_tokens=5_120)]) == ""
    assert told([begun_of("a"), round_of("a", 0, {"b": 0.25})]) == ""


def test_rounds_that_tried_nobody_leave_the_relatives_as_they_were() -> None:
    begun = msgspec.structs.replace(begun_of("a"), train_tokens=5_120)
    merged = round_of("a", 0, {"b": 0.25})
    back = round_of("a", 1, {"b": 0.0}, guard="recalled")
    look = round_of("a", 2, {"b": 0.0}, guard="refused", steps=0)
    vain = round_of("a", 3, {"b": 0.0}, guard="refused")
    assert told([begun, merged, back, look]) == expectation(tokens=5_120, relatives=1)
    assert told([begun, merged, back, look, vain]) == expectation(tokens=5_120, relatives=0)
    assert told([begun, back]) == expectation(tokens=5_120, relatives=0)
