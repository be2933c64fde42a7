"""Encoding and decoding layer importances."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WireError
from wire.importance import MAX_LAYERS, decode_importance, encode_importance

NUMBERS = st.floats(0, width=32, allow_infinity=False, allow_nan=False)
LARGEST = float(np.finfo(np.float32).max)


@given(st.lists(st.none() | NUMBERS, max_size=MAX_LAYERS).map(tuple))
def test_importances_within_float32_round_trip(importance: tuple[float | None, ...]) -> None:
    data = encode_importance(importance)
    assert len(data) == 4 * len(importance)
    assert decode_importance(data, len(importance)) == importance


@given(st.binary(max_size=40), st.integers(0, 10))
def test_any_bytes_decode_or_raise_wire_error(data: bytes, layers: int) -> None:
    try:
        importance = decode_importance(data, layers)
    except WireError:
        return
    assert len(importance) == layers
    assert all(value is None or 0 <= value <= LARGEST for value in importance)
    assert encode_importance(importance) == data or data == b""


def test_an_unknown_layer_is_minus_one() -> None:
    assert encode_importance((0.5, None, 0)) == struct.pack("<3f", 0.5, -1, 0)
    assert encode_importance(()) == b""


def test_an_empty_importance_knows_of_no_layer() -> None:
    assert decode_importance(b"", 3) == (None, None, None)


@pytest.mark.parametrize("length", [1, 4, 8, 11, 13, 16, 1_024])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(WireError, match=f"announcement.importance: {length} bytes for 3 layers"):
        decode_importance(bytes(length), 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -0.5, -1e-45, -1.0000001, -2])
def test_a_negative_or_infinite_importance_is_refused(bad: float) -> None:
    with pytest.raises(WireError, match=r"announcement\.importance: a number is negative or not finite"):
        decode_importance(struct.pack("<3f", 1, -1, bad), 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, -1e-300, 1e39])
def test_what_receivers_would_refuse_is_not_encoded(bad: float) -> None:
    with pytest.raises(ValueError, match=r"importance of layer 1 must be in 0\.\.3"):
        encode_importance((1, bad))
    with pytest.raises(ValueError, match="at most 256 layers, got 257"):
        encode_importance((None,) * 257)
