"""Charts of block characters."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from trust.inspection.watch.panels.charts import columns, sampled, sparkline


def test_a_sparkline_goes_from_the_least_to_the_greatest() -> None:
    assert sparkline([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([2.0, 2.0], 4) == "  ▄▄"
    assert sparkline([1.0, math.nan, math.inf, 2.0], 4) == "▁??█"
    assert sparkline([], 3) == "   "


def test_a_chart_begins_at_zero_and_leaves_missing_values_blank() -> None:
    assert columns([0.5, 1.0, None, 0.0, 0.0001], width=9, height=2, top=1.0) == (" █   ", "██  ▁")


def test_of_many_values_the_last_of_each_equal_part_is_shown() -> None:
    assert sampled(range(10), 5) == [1, 3, 5, 7, 9]
    assert sampled(range(3), 5) == range(3)


@given(st.lists(st.floats(), max_size=40), st.integers(1, 12))
def test_a_sparkline_has_its_width_whatever_the_values(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == width


@given(st.lists(st.floats() | st.none(), max_size=40), st.integers(1, 12), st.floats())
def test_a_chart_keeps_to_its_width_and_height(values: list[float | None], width: int, top: float) -> None:
    drawn = columns(values, width=width, height=3, top=top)
    assert [len(line) for line in drawn] == [min(width, len(values))] * 3
