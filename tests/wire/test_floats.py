"""bfloat16 against its definition in float64 arithmetic."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.floats import Bits, bf16_bits, bf16_values, count_non_finite

ALL_BITS = np.arange(2**16, dtype=np.uint16)
WIDTHS = st.floats(width=32, allow_nan=False)


def nearest_bf16(values: np.ndarray) -> np.ndarray:
    """The definition, in float64: the nearest multiple of the spacing at that size, ties to even.

    Eight significant bits; exponents end at -126, below which the spacing stays; 2^128 is infinite.
    """
    wide = values.astype(np.float64)
    _, exponent = np.frexp(wide)
    spacing = np.ldexp(1.0, np.maximum(exponent - 1, -126) - 7)
    with np.errstate(invalid="ignore"):
        nearest = np.rint(wide / spacing) * spacing
    overflow = np.isinf(wide) | (np.abs(nearest) >= 2.0**128)
    return np.where(overflow, np.copysign(np.inf, wide), nearest).astype(np.float32)


def test_every_bfloat16_number_round_trips() -> None:
    values = bf16_values(ALL_BITS)
    numbers = ~np.isnan(values)
    assert np.array_equal(bf16_bits(values)[numbers], ALL_BITS[numbers])
    assert np.count_nonzero(~numbers) == 2 * (2**7 - 1)


def test_nan_stays_nan_whatever_its_payload() -> None:
    patterns = [
        0x7F800001,
        0x7FC00000,
        0x7FFF8000,
        0x7FFFFFFF,
        0xFF800001,
        0xFFFF7FFF,
        0xFFFF8000,
        0xFFFFFFFF,
    ]
    nan = np.array(patterns, np.uint32).view(np.float32)
    assert np.isnan(bf16_values(bf16_bits(nan))).all()
    assert count_non_finite(bf16_bits(nan)) == len(patterns)


def test_rounding_is_to_nearest_even_around_every_pattern() -> None:
    # Of each bfloat16: itself, its neighbours in float32, the tie above it and the neighbours of the tie.
    offsets = np.array([-1, 0, 1, 0x7FFF, 0x8000, 0x8001], np.int64)
    bits = (ALL_BITS.astype(np.int64)[:, None] << 16) + offsets
    bits = bits[(bits >= 0) & (bits < 2**32)].astype(np.uint32)
    values = bits.view(np.float32)
    values = values[~np.isnan(values)]
    got = bf16_values(bf16_bits(values))
    assert np.array_equal(got, nearest_bf16(values))
    assert np.array_equal(np.signbit(got), np.signbit(values))


@given(st.lists(WIDTHS, max_size=50))
def test_rounding_is_to_nearest_even(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    assert np.array_equal(bf16_values(bf16_bits(values)), nearest_bf16(values))


def test_values_beyond_bfloat16_become_infinite_and_are_counted() -> None:
    values = np.array([3.3895313892515355e38, 3.39e38, 3.4e38, -3.4e38], np.float32)
    assert bf16_values(bf16_bits(values))[:2].tolist() == [3.3895313892515355e38, 3.3895313892515355e38]
    assert count_non_finite(bf16_bits(values)) == 2


@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
def test_the_count_agrees_with_isfinite(kind: type[np.uint16] | type[np.uint32]) -> None:
    rng = np.random.default_rng(0)
    bits = cast("Bits", rng.integers(0, np.iinfo(kind).max, 2**17, dtype=kind, endpoint=True))
    values = bf16_values(bits) if kind is np.uint16 else bits.view(np.float32)
    assert count_non_finite(bits) == np.count_nonzero(~np.isfinite(values)) > 0


def test_shapes_are_kept_down_to_a_single_number() -> None:
    for shape in ((), (1,), (2, 3), (0,)):
        bits = bf16_bits(np.ones(shape, np.float32))
        assert bits.shape == shape
        assert bf16_values(bits).shape == shape


def test_decoded_values_do_not_share_memory_with_the_bits() -> None:
    bits = np.array([0x3F80], np.uint16)
    values = bf16_values(bits)
    values += 1
    assert bits[0] == 0x3F80
