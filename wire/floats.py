"""bfloat16 in numpy, which has no such type, and the cheapest test for numbers that are none."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
Bits: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32]

_BF16_EXPONENT = np.uint16(0x7F80)
_BF16_QUIET = np.uint32(0x0040)
_F32_MAGNITUDE = np.uint32(0x7FFFFFFF)
_F32_EXPONENT = np.uint32(0x7F800000)


def bf16_bits(values: F32) -> NDArray[np.uint16]:
    """The nearest bfloat16 of each value, ties to even, as its sixteen bits.

    What lies beyond the largest bfloat16 becomes infinite, and NaN stays NaN, so that counting the
    non-finite values of the result misses neither.
    """
    bits = values.view(np.uint32)
    upper = bits >> np.uint32(16)
    # Adding half of the last kept bit, plus one where that bit is odd, rounds to nearest even.
    rounded = (bits + np.uint32(0x7FFF) + (upper & np.uint32(1))) >> np.uint32(16)
    # The sum carries a NaN with a full payload past the sign: 0xffffffff would become 0.
    is_nan = (bits & _F32_MAGNITUDE) > _F32_EXPONENT
    return np.where(is_nan, upper | _BF16_QUIET, rounded).astype("<u2")


def bf16_values(bits: Bits) -> F32:
    """The float32 values of bfloat16 bits; exact, in memory of their own."""
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)
    return wide.view(np.float32)


def count_non_finite(bits: Bits) -> int:
    """How many of these bfloat16 (16-bit) or float32 (32-bit) patterns are NaN or infinite.

    All exponent bits set means exactly that, so bfloat16 bits need not be decoded to be checked.
    """
    mask = _BF16_EXPONENT if bits.dtype.itemsize == 2 else _F32_EXPONENT
    return int(np.count_nonzero((bits & mask) == mask))
