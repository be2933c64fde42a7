"""The arithmetic of budgets."""

from __future__ import annotations

import pytest

from peers.core.others.standing.budgets import MAX_SOURCES, Budget, Meter


def test_a_burst_passes_at_once_and_then_so_many_a_second() -> None:
    meter = Meter(Budget(burst=3, per_second=0.5))
    assert [meter.take("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert not meter.take("a", 1.9)
    assert meter.take("a", 2.0)
    assert not meter.take("a", 2.0)


def test_each_source_has_a_budget_of_its_own() -> None:
    meter = Meter(Budget(burst=1, per_second=0.001))
    assert meter.take("a", 0.0)
    assert meter.take("b", 0.0)
    assert not meter.take("a", 0.0)


def test_what_is_refused_costs_nothing() -> None:
    meter = Meter(Budget(burst=1, per_second=1))
    meter.take("a", 0.0)
    for tenth in range(1, 10):
        assert not meter.take("a", tenth / 10)
    assert meter.take("a", 1.0)


def test_to_ask_whether_there_is_some_left_uses_nothing() -> None:
    meter = Meter(Budget(burst=1, per_second=1))
    assert all(meter.allows("a", 0.0) for _ in range(5))
    meter.take("a", 0.0)
    assert not meter.allows("a", 0.0)


def test_a_rest_fills_the_budget_and_no_more() -> None:
    meter = Meter(Budget(burst=2, per_second=1))
    for _ in range(2):
        meter.take("a", 0.0)
    assert [meter.take("a", 1e9) for _ in range(3)] == [True, True, False]


def test_the_memory_is_bounded_and_forgets_who_used_it_longest_ago() -> None:
    meter = Meter(Budget(burst=1, per_second=1e-9))
    meter.take("first", 0.0)
    for number in range(MAX_SOURCES):
        meter.take(f"other {number}", 0.0)
    assert meter.take("first", 0.0)
    assert not meter.take(f"other {MAX_SOURCES - 1}", 0.0)


@pytest.mark.parametrize(("burst", "per_second"), [(0, 1), (1, 0), (float("nan"), 1), (1, float("nan"))])
def test_a_budget_that_lets_nothing_pass_is_refused(burst: float, per_second: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Budget(burst=burst, per_second=per_second)
