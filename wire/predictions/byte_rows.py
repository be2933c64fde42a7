"""Encodes and decodes byte rows: predictions that peers of different tokenizers can compare.

The reference set has N agreed byte offsets, all but the first of each window, and S agreed spans, the words between two
ends of words. A row says what comes next at an offset where its author's tokenizer has a boundary. Its symbols are the
bytes (0 to 255), and where the next byte is a space, the space with the byte behind it (256 + that byte): most
tokenizers begin a token with the space before a word, and the space alone says little: without the byte behind it,
peers that had learned for 8 steps told languages apart across tokenizers less well (benchmarks/byte_evidence.py). A
token that is one space is symbol 32.

    map      ceil(N / 8) bytes; bit i mod 8 of byte i div 8 is 1 where there is a row at offset i; bits behind N are 0
    symbols  R x K   uint16, below 512, strictly rising along a row; the K most probable
    nats     R x K   uint8, -16 log p, rounded
    tail     R       uint8, -16 log of the probability of all other symbols and of tokens that have no bytes
    spans    S       uint16, -64 log p of each span, rounded; 65535 where its author has no boundary at both its ends

The arrays follow each other, little-endian, without a header; R is the number of bits in the map. Rounding changes a
probability by at most 3.2 %, and the logarithm of a span's by at most 1/128. A probability below e^-15.9 is sent as
that. N and S follow from the reference set, and K from them: the most, up to 16, with which rows at all offsets fit
`MAX_BYTES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wire.errors import WireError
from wire.floats import F32

SYMBOLS: Final = 512
MAX_BYTES: Final = 60_000
"""Bound of an encoded blob, whatever the tokenizer."""
MAX_TOP: Final = 16
"""Guess. Fifteen, for which the default reference set has room, hold 66 to 78 % of the mass with a vocabulary of 4,096
tokens and 74 to 83 % with one of 1,024 (benchmarks/byte_evidence.py)."""
MASS_TOLERANCE: Final = 0.04
"""How far the sum of a row may lie from 1: rounding moves it by at most e^(1/32) - 1 = 0.032, and sixteen
probabilities of nearly nothing add less than 10^-5."""

_STEP: Final = 16.0
_SPAN_STEP: Final = 64.0
_LARGEST: Final = 255
_LARGEST_SPAN: Final = 65_534
_UNKNOWN: Final = 65_535


@dataclass(frozen=True, slots=True)
class ByteShape:
    """`offsets` and `spans` of a reference set."""

    offsets: int
    spans: int

    def __post_init__(self) -> None:
        if self.offsets < 1 or self.spans < 0 or self.top < 2:
            raise ValueError(
                f"byte rows of {self.offsets} offsets and {self.spans} spans do not fit {MAX_BYTES} bytes with two "
                "symbols a row"
            )

    @property
    def map_bytes(self) -> int:
        return (self.offsets + 7) // 8

    @property
    def top(self) -> int:
        """Symbols of a row."""
        left = MAX_BYTES - self.map_bytes - 2 * self.spans
        return min(MAX_TOP, (left // max(1, self.offsets) - 1) // 3)

    def size(self, rows: int) -> int:
        """Bytes of a blob with so many rows."""
        return self.map_bytes + rows * (3 * self.top + 1) + 2 * self.spans

    def allows(self, size: int) -> bool:
        """Whether a blob of this size can be one with rows at some of the offsets."""
        rows, rest = divmod(size - self.size(0), 3 * self.top + 1)
        return rest == 0 and 1 <= rows <= self.offsets


@dataclass(frozen=True, slots=True, eq=False)
class ByteRows:
    """`at_R` (rising) are the offsets that have a row; `ids_RK` are symbols, rising in each row; `spans_S` are
    log-probabilities, NaN where unknown."""

    at_R: NDArray[np.int64]
    ids_RK: NDArray[np.uint32]
    logp_RK: F32
    tail_R: F32
    spans_S: F32


def encode_byte_rows(rows: ByteRows, shape: ByteShape) -> bytes:
    """Raises `ValueError` for rows that receivers would refuse."""
    count, at = len(rows.at_R), rows.at_R
    expected = (count, shape.top)
    shapes = (rows.ids_RK.shape, rows.logp_RK.shape, rows.tail_R.shape, rows.spans_S.shape)
    if shapes != (expected, expected, (count,), (shape.spans,)):
        raise ValueError(f"byte rows must be {count} of {shape.top} and {shape.spans} spans, got {shapes}")
    if count and not (int(at[0]) >= 0 and int(at[-1]) < shape.offsets and bool((np.diff(at) > 0).all())):
        raise ValueError(f"at_R must rise within 0..{shape.offsets - 1}")
    if count and not 0 <= int(rows.ids_RK.min()) <= int(rows.ids_RK.max()) < SYMBOLS:
        raise ValueError(f"symbols must be in 0..{SYMBOLS - 1}")
    if not bool(np.isfinite(rows.tail_R).all()) or bool(np.isnan(rows.logp_RK).any()):
        raise ValueError("our own byte rows are not finite")
    bits = np.zeros(shape.map_bytes * 8, np.uint8)
    bits[at] = 1
    with np.errstate(divide="ignore"):
        tail_R = np.log(np.clip(rows.tail_R, 0, 1))
    spans_S = np.where(
        np.isnan(rows.spans_S), _UNKNOWN, np.clip(np.rint(-rows.spans_S * _SPAN_STEP), 0, _LARGEST_SPAN)
    )
    data = b"".join(
        (
            np.packbits(bits, bitorder="little").tobytes(),
            rows.ids_RK.astype("<u2").tobytes(),
            _codes(rows.logp_RK).tobytes(),
            _codes(tail_R).tobytes(),
            spans_S.astype("<u2").tobytes(),
        )
    )
    try:
        decode_byte_rows(data, shape)
    except WireError as error:
        raise ValueError(f"our own byte rows do not pass the check of others: {error}") from None
    return data


def decode_byte_rows(data: bytes, shape: ByteShape) -> ByteRows:
    """Decode and check. There is at least one row. Raises `WireError` and nothing else."""
    bits = np.unpackbits(np.frombuffer(data[: shape.map_bytes], np.uint8), bitorder="little")
    at_R = np.flatnonzero(bits)
    rows, top = len(at_R), shape.top
    if len(data) != shape.size(rows):
        raise WireError("bytes.length", f"{len(data)} bytes, {shape.size(rows)} for its {rows} rows")
    if not rows or int(at_R[-1]) >= shape.offsets:
        raise WireError("bytes.map", f"{rows} rows at {shape.offsets} offsets")
    ids_at = shape.map_bytes
    nats_at = ids_at + 2 * rows * top
    tail_at = nats_at + rows * top
    ids_RK = np.frombuffer(data, "<u2", rows * top, ids_at).astype(np.uint32).reshape(rows, top)
    if int(ids_RK.max()) >= SYMBOLS or not bool((ids_RK[:, 1:] > ids_RK[:, :-1]).all()):
        raise WireError("bytes.symbols", f"not below {SYMBOLS} and strictly rising along a row")
    logp_RK = _values(np.frombuffer(data, np.uint8, rows * top, nats_at)).reshape(rows, top)
    tail_R = np.exp(_values(np.frombuffer(data, np.uint8, rows, tail_at)))
    off = float(np.abs(np.exp(logp_RK, dtype=np.float64).sum(axis=1) + tail_R - 1).max())
    if off > MASS_TOLERANCE:
        raise WireError("bytes.mass", f"a row's probabilities sum {off:.3g} away from 1")
    codes_S = np.frombuffer(data, "<u2", shape.spans, tail_at + rows).astype(np.float32)
    spans_S = np.where(codes_S == _UNKNOWN, np.float32(np.nan), codes_S / np.float32(-_SPAN_STEP))
    return ByteRows(at_R.astype(np.int64), ids_RK, logp_RK, tail_R, spans_S)


def _codes(logs: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return np.clip(np.rint(-logs * _STEP), 0, _LARGEST).astype(np.uint8)


def _values(codes: NDArray[np.uint8]) -> F32:
    return -codes.astype(np.float32) / np.float32(_STEP)
