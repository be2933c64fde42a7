"""A bounded dictionary holds the newest entries, and never more than its bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.bounded import BoundedDict


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans())), st.integers(1, 5))
def test_a_full_dictionary_holds_the_newest_items(operations: list[tuple[int, bool]], most: int) -> None:
    bounded = BoundedDict[int, int](most)
    expected: list[int] = []
    for step, (key, again) in enumerate(operations):
        if again:
            bounded.renew(key, step)
        else:
            bounded[key] = step
        if again and key in expected:
            expected.remove(key)
        if key not in expected:
            expected.append(key)
        expected = expected[-most:]
        assert list(bounded) == expected
        assert bounded[key] == step


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="most must be at least 1, got 0"):
        BoundedDict[int, int](0)
