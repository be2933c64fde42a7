"""The time of a pass as a line: found again from exact points, and never one that no device has."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.device.plan.pace import StepPace, fitted

SIZES = (128, 256, 512, 1024, 4096)


@given(fixed_s=st.floats(0, 10), token_s=st.floats(1e-7, 1e-1))
def test_a_line_is_found_again_from_its_points(fixed_s: float, token_s: float) -> None:
    pace = fitted([(n, fixed_s + token_s * n) for n in SIZES])
    assert pace.fixed_s == pytest.approx(fixed_s, abs=1e-6 * (fixed_s + token_s * 128))
    for n in SIZES:
        assert pace.step_s(n, n) == pytest.approx(fixed_s + token_s * n, rel=1e-6)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(1e-6, 1e3)), min_size=1, max_size=8))
def test_any_measured_points_give_a_pace_that_a_device_can_have(points: list[tuple[int, float]]) -> None:
    pace = fitted(points)
    assert pace.fixed_s >= 0
    assert 0 < pace.token_s < math.inf


def test_each_pass_of_a_step_has_the_fixed_part() -> None:
    pace = StepPace(2.0, 0.5)
    assert pace.step_s(8, 8) == 6.0
    assert pace.step_s(8, 4) == 8.0
    assert pace.step_s(8, 3) == 10.0
    assert pace.knee == 4.0


@pytest.mark.parametrize("points", [[], [(0, 1.0)], [(4, 0.0)]])
def test_no_points_and_no_time_are_refused(points: list[tuple[int, float]]) -> None:
    with pytest.raises(ValueError, match="a pace is fitted to passes"):
        fitted(points)
