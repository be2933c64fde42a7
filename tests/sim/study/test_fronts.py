"""Tests of Pareto fronts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.study.fronts import dominates, front

costs = st.dictionaries(
    st.integers(), st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1
)


@given(costs)
def test_nothing_beats_what_is_on_a_front_and_something_beats_all_else(
    found: dict[int, tuple[int, ...]],
) -> None:
    best = front(found)
    assert best
    for name, cost in found.items():
        beaten = any(dominates(found[other], cost) for other in best)
        assert beaten == (name not in best)


@given(costs)
def test_a_front_has_the_least_of_each_objective(found: dict[int, tuple[int, ...]]) -> None:
    best = [found[name] for name in front(found)]
    for axis in range(3):
        assert min(cost[axis] for cost in best) == min(cost[axis] for cost in found.values())


def test_equal_costs_stay_together() -> None:
    assert front({"a": (1, 2), "b": (1, 2), "c": (1, 3)}) == ["a", "b"]
