"""Tests of the shape of a random base: what is refused, and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gossipllm.model.fresh.shape import PRESETS, BaseShape


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"seed": " "}, "seed must not be empty"),
        ({"hidden": 100, "heads": 3}, r"hidden must be a multiple of 2 \* heads \(6\), got 100"),
        ({"heads": 4, "kv_heads": 3}, r"kv_heads must divide heads \(4\), got 3"),
        ({"vocabulary": 257}, "vocabulary must be in 258..65536, got 257"),
        ({"layers": 0}, "layers must be in 1..256, got 0"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(BaseShape(), **change)


def test_the_feed_forward_width_follows_from_the_hidden_width() -> None:
    assert BaseShape(hidden=128).feed_forward_width == 352
    assert BaseShape(hidden=128, feed_forward=200).feed_forward_width == 200


def test_the_largest_preset_has_the_shape_of_smollm2() -> None:
    shape = PRESETS["135m"]

    assert (shape.hidden, shape.layers, shape.heads, shape.key_value_heads) == (576, 30, 9, 3)
    assert (shape.feed_forward_width, shape.vocabulary) == (1536, 49_152)
