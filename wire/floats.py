"""bfloat16 as bit patterns, because numpy has no such type, and a fast count of NaN and infinite values."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
Bits: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32]

# A bfloat16 is the upper half of a float32: sign, 8 bits of exponent, 7 of mantissa.
_BF16_EXPONENT = np.uint16(0x7F80)
_BF16_QUIET = np.uint32(0x0040)
_F32_MAGNITUDE = np.uint32(0x7FFFFFFF)
_F32_EXPONENT = np.uint32(0x7F800000)


def bf16_bits(values: F32) -> NDArray[np.uint16]:
    """The sixteen bits of the bfloat16 nearest to each value, ties to even.

    Values beyond the largest bfloat16 become infinite and NaN stays NaN, so `count_non_finite` of the result counts
    both.
    """
    bits = values.view(np.uint32)
    upper = bits >> np.uint32(16)
    # Adding half of the last kept bit, plus one where that bit is odd, rounds to nearest even.
    rounded = (bits + np.uint32(0x7FFF) + (upper & np.uint32(1))) >> np.uint32(16)
    # A NaN with a full payload carries past the sign: 0xffffffff would become 0. Setting the quiet bit keeps a NaN
    # whose payload lies only in the lower half from becoming infinite.
    is_nan = (bits & _F32_MAGNITUDE) > _F32_EXPONENT
    return np.where(is_nan, upper | _BF16_QUIET, rounded).astype("<u2")


def bf16_values(bits: Bits) -> F32:
    """The float32 values of bfloat16 bits, exact; the result never shares memory with `bits`."""
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)
    return wide.view(np.float32)


def count_non_finite(bits: Bits) -> int:
    """The number of NaN or infinite values among bfloat16 (16-bit) or float32 (32-bit) patterns.

    Exactly these values have all exponent bits set, so bfloat16 is checked without being decoded.
    """
    mask = _BF16_EXPONENT if bits.dtype.itemsize == 2 else _F32_EXPONENT
    return int(np.count_nonzero((bits & mask) == mask))
