"""Encodes and decodes many small integers, most of them zero: several to a byte, and the bytes deflated.

    u8   form, an index into the table below
    u32  Z: numbers that are not zero         only where the form is "gaps"
    u32  G: bytes of their gaps               only where the form is "gaps"
    rest raw deflate (RFC 1951) of the symbols, and behind them the escapes

A number n has the code 2 n where it is not negative, and -2 n - 1 where it is.

    form  name     symbols
    0     quads    4 numbers a byte, the first in the lowest 2 bits: codes 0 to 2, and 3 for an escape
    1     nibbles  2 numbers a byte, the first in the lowest 4 bits: codes 0 to 14, and 15 for an escape
    2     bytes    1 number a byte: codes 0 to 254, and 255 for an escape
    3     gaps     G bytes, then Z bytes. The first are, for each number that is not zero, how many zeros lie before it
                   since the last one: 255 stands for 255 zeros and says that more follow, and a smaller byte ends the
                   gap. The others are their codes, in the form "bytes".

An escape is the code as u16, little-endian, in the order of the numbers. What is left of the last byte of symbols is
zero. How many numbers there are is known to the receiver, which so knows how much may be inflated before it inflates.

Deflate rather than arithmetic coding: it is in every language's library, and on the differences of real adapters it
takes 2 to 5 % more than their entropy, tensor by tensor (benchmarks/wire_sizes.py).
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wire.deflate import Inflating, deflated
from wire.errors import WireError

MOST: Final = 32_767
"""Largest magnitude of a number: its code fits 16 bits."""
MAX_NUMBERS: Final = 2**23
"""Most numbers of a blob. To decode them takes 32 MB, and 0.1 to 0.2 s of the loop that serves the network."""

_FORMS: Final = ("quads", "nibbles", "bytes", "gaps")
_QUADS, _NIBBLES, _BYTES, _GAPS = range(4)
_PER_BYTE: Final = (4, 2, 1)
_ESCAPED: Final = -128
"""Stands in decoded symbols for a number whose code follows as an escape."""
_COUNTS: Final = struct.Struct("<II")
_SPARSE: Final = 0.15
"""Share of numbers that are not zero below which their gaps may take less than quads."""

I32 = NDArray[np.int32]
I8 = NDArray[np.int8]


def encode_integers(numbers_N: I32) -> bytes:
    """Raises `ValueError` for more numbers than `MAX_NUMBERS` and for magnitudes above `MOST`."""
    if numbers_N.size > MAX_NUMBERS:
        raise ValueError(f"at most {MAX_NUMBERS} numbers, got {numbers_N.size}")
    size_N = np.abs(numbers_N)
    largest = int(size_N.max(initial=0))
    if largest > MOST:
        raise ValueError(f"magnitudes must be at most {MOST}, got {largest}")
    codes_N = (2 * size_N - (numbers_N < 0)).astype(np.uint16)
    dense = _dense(codes_N)
    return (
        min(dense, _gaps(codes_N), key=len) if np.count_nonzero(codes_N) < _SPARSE * codes_N.size else dense
    )


def decode_integers(data: bytes | memoryview, count: int) -> I32:
    """`count` numbers. Raises `WireError` and nothing else; inflates no more than they take."""
    if not 0 <= count <= MAX_NUMBERS:
        raise ValueError(f"count must be in 0..{MAX_NUMBERS}, got {count}")
    if not data:
        raise WireError("integers.length", "no bytes")
    form = data[0]
    if form >= len(_FORMS):
        raise WireError("integers.form", f"{form} is none of {len(_FORMS)}")
    body = data[1:]
    if form == _GAPS:
        return _from_gaps(body, count)
    stream = Inflating(body, "integers")
    narrow = _symbols(form, stream.read(-(-count // _PER_BYTE[form])))
    if narrow[count:].any():
        raise WireError("integers.padding", "not zero")
    numbers_N = _with_escapes(narrow[:count], stream)
    stream.close()
    return numbers_N


def _dense(codes_N: NDArray[np.uint16]) -> bytes:
    """The form among those with all numbers that probably takes least: escapes are rare in it."""
    large = [int(np.count_nonzero(codes_N >= limit)) for limit in (3, 15)]
    form = (
        _QUADS if large[0] <= 0.04 * codes_N.size else _NIBBLES if large[1] <= 0.01 * codes_N.size else _BYTES
    )
    width = 8 // _PER_BYTE[form]
    limit = 2**width - 1
    symbols = np.minimum(codes_N, limit).astype(np.uint8)
    each = _PER_BYTE[form]
    symbols = np.concatenate([symbols, np.zeros(-symbols.size % each, np.uint8)]).reshape(-1, each)
    packed = symbols[:, 0].copy()
    for index in range(1, each):
        packed |= symbols[:, index] << np.uint8(width * index)
    return bytes((form,)) + deflated(packed.tobytes(), codes_N[codes_N >= limit].astype("<u2").tobytes())


def _gaps(codes_N: NDArray[np.uint16]) -> bytes:
    at_Z = np.flatnonzero(codes_N)
    gaps_Z = np.diff(at_Z, prepend=-1) - 1
    more_Z = gaps_Z // 255
    ends_Z = np.cumsum(more_Z + 1) - 1
    gaps = np.full(int(ends_Z[-1]) + 1 if at_Z.size else 0, 255, np.uint8)
    gaps[ends_Z] = gaps_Z - 255 * more_Z
    codes_Z = codes_N[at_Z]
    symbols = np.minimum(codes_Z, 255).astype(np.uint8)
    escapes = codes_Z[codes_Z >= 255].astype("<u2")
    head = bytes((_GAPS,)) + _COUNTS.pack(at_Z.size, gaps.size)
    return head + deflated(gaps.tobytes(), symbols.tobytes(), escapes.tobytes())


def _from_gaps(body: bytes | memoryview, count: int) -> I32:
    if len(body) < _COUNTS.size:
        raise WireError("integers.length", f"{len(body)} bytes behind the form")
    nonzero, gap_bytes = _COUNTS.unpack_from(body)
    # Before anything is inflated: a gap takes one byte, and one more for each 255 zeros.
    if nonzero > count or gap_bytes > nonzero + count // 255:
        raise WireError("integers.gaps", f"{nonzero} numbers with {gap_bytes} bytes of gaps among {count}")
    stream = Inflating(body[_COUNTS.size :], "integers")
    gaps = np.frombuffer(stream.read(gap_bytes), np.uint8)
    ends = gaps < 255
    at = np.cumsum(gaps.astype(np.int64) + ends) - 1
    at_Z = at[ends]
    if at_Z.size != nonzero or not ends[-1:].all() or (nonzero and int(at_Z[-1]) >= count):
        raise WireError("integers.gaps", f"do not place {nonzero} of {count} numbers")
    values_Z = _with_escapes(_symbols(_BYTES, stream.read(nonzero)), stream)
    stream.close()
    if not values_Z.all():
        raise WireError("integers.gaps", "lead to zeros")
    numbers_N = np.zeros(count, np.int32)
    numbers_N[at_Z] = values_Z
    return numbers_N


def _with_escapes(narrow: I8, stream: Inflating) -> I32:
    numbers = narrow.astype(np.int32)
    at = np.flatnonzero(narrow == _ESCAPED)
    if at.size:
        numbers[at] = _signed(np.frombuffer(stream.read(2 * at.size), "<u2").astype(np.int32))
    return numbers


def _signed(codes: I32) -> I32:
    return np.where(codes & 1, -((codes + 1) >> 1), codes >> 1).astype(np.int32)


def _symbols(form: int, packed: bytes) -> I8:
    """The numbers in bytes of symbols, `_ESCAPED` for escapes."""
    return _TABLES[form][np.frombuffer(packed, np.uint8)].view(np.int8)


def _table(form: int) -> NDArray[np.int8 | np.int16 | np.int32]:
    """For each byte of symbols its numbers, as int8 in the memory of one integer."""
    each = _PER_BYTE[form]
    width = 8 // each
    codes = np.arange(256)[:, None] >> (width * np.arange(each)) & (2**width - 1)
    narrow = np.where(codes == 2**width - 1, _ESCAPED, _signed(codes.astype(np.int32))).astype(np.int8)
    return narrow.view(f"i{each}").ravel()


_TABLES: Final[tuple[NDArray[np.int8 | np.int16 | np.int32], ...]] = tuple(_table(form) for form in range(3))
