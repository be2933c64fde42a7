"""Encodes and decodes sparse predictions in steps of 1/8 nat: the matrix of rows by tokens, entropy coded by columns.

Of each row the K most probable tokens are sent, as in `logits.py`. A log-probability is rounded to a multiple of 1/8
and sent as how many steps it lies above the least of its row. What is missing is a factor for each row, which follows
from its sum of 1: the receiver divides by the sum. So a probability is off by a factor of at most e^(1/8), and mostly
by half of that.

A token that is likely in one row is likely in others, so tokens are named once, and then the rows that they occur in:

    u32  U: distinct tokens
    rest one raw deflate stream, with nothing behind it, of these lists:

    ids    U      how many tokens lie between this one and the one before it, low bits b(V, U)
    counts U      rows that it occurs in, less one, no low bits
    rows   R x K  for each token, rows between one that it occurs in and the one before it, low bits b(R, its count)
    steps  R x K  u8, in the same order
    tails  R      u8: the tail's steps above the row's least, n >= 0 as 2 n and n < 0 as -2 n - 1; 255 for no tail

Numbers of the first three lists are cut in two. The upper part is a byte, 255 for an escape, and behind all of these
bytes stand the escaped upper parts as u32. Then their low bits: the lowest bit of all numbers that have one, 8 to a
byte from its lowest bit on, then the second lowest, and so on. b(total, count) is the number of binary digits of
floor(total / count), less 3, at least 0: so rare and frequent tokens share one table of Huffman's codes.

Axes: R rows, K kept tokens, U distinct tokens, N = R K entries by token and then row.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wire.deflate import Inflating, deflated
from wire.errors import WireError
from wire.floats import F32

STEPS: Final = 8
"""Steps in a nat. With 8, distances between the predictions of peers that had learned different languages for 10 to 50
steps moved by at most 0.002 (of 0.1 to 0.7), with 4 by 0.005, at 1 bit less an entry."""

_HEAD: Final = struct.Struct("<I")
_LARGEST: Final = 255
_NO_TAIL: Final = 255
_ESCAPE: Final = 255
_UPPER: Final = 3

I64 = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


def most_bytes(rows: int, top: int) -> int:
    """Bound of an encoded blob. A list of numbers takes most where all are escapes, and Huffman's codes at most a byte
    and a bit where zlib stores what they do not make smaller."""
    return 1_024 + 16 * rows * top + 2 * rows


def encode_coded(ids_RK: NDArray[np.uint32], logp_RK: F32, tail_R: F32, vocabulary: int) -> bytes:
    """Raises `ValueError` where a number is not finite. Ids must rise strictly in each row, within the vocabulary."""
    rows, top = ids_RK.shape
    if np.isnan(logp_RK).any() or not np.isfinite(tail_R).all():
        raise ValueError("our own predictions are not finite")
    order_N = np.argsort(ids_RK.ravel(), kind="stable")
    ids_U, counts_U = np.unique(ids_RK, return_counts=True)
    rows_N = order_N // top
    # The row before the first one of a token is -1.
    before_N = np.concatenate(([-1], rows_N[:-1]))
    before_N[np.cumsum(counts_U) - counts_U] = -1
    steps_RK, tails_R = _in_steps(logp_RK, tail_R)
    parts = (
        *_numbers(np.diff(ids_U.astype(np.int64), prepend=-1) - 1, _low_bits(vocabulary, _times(ids_U))),
        *_numbers(counts_U.astype(np.int64) - 1, np.zeros(ids_U.size, np.int64)),
        *_numbers(rows_N - before_N - 1, _low_bits(rows, np.repeat(counts_U, counts_U))),
        steps_RK.ravel()[order_N].tobytes(),
        tails_R.tobytes(),
    )
    return _HEAD.pack(ids_U.size) + deflated(*parts)


def decode_coded(data: bytes, rows: int, top: int, vocabulary: int) -> tuple[NDArray[np.uint32], F32, F32]:
    """Ids, log-probabilities and tails; each row sums to 1. Raises `WireError` and nothing else; inflates no more than
    the shape takes."""
    entries = rows * top
    if len(data) < _HEAD.size:
        raise WireError("evidence.length", f"{len(data)} bytes")
    distinct: int = _HEAD.unpack_from(data)[0]
    if not top <= distinct <= min(entries, vocabulary):
        raise WireError("evidence.ids", f"{distinct} distinct among {entries} of {vocabulary}")
    stream = Inflating(memoryview(data)[_HEAD.size :], "evidence")
    low_U = _low_bits(vocabulary, np.full(distinct, distinct, np.int64))
    ids_U = np.cumsum(_read(stream, low_U, vocabulary, "evidence.ids") + 1) - 1
    if int(ids_U[-1]) >= vocabulary:
        raise WireError("evidence.ids", f"{int(ids_U[-1])} >= vocabulary {vocabulary}")
    counts_U = _read(stream, np.zeros(distinct, np.int64), rows, "evidence.counts") + 1
    if int(counts_U.sum()) != entries:
        raise WireError("evidence.counts", f"sum to {int(counts_U.sum())}, not {entries}")
    low_N = _low_bits(rows, np.repeat(counts_U, counts_U))
    far_N = np.cumsum(_read(stream, low_N, rows, "evidence.rows") + 1)
    ends_U = np.cumsum(counts_U)
    # Distances are summed over all tokens at once; what those before a token brought is taken off.
    rows_N = far_N - np.repeat(np.concatenate(([0], far_N[ends_U[:-1] - 1])), counts_U) - 1
    if int(rows_N[ends_U - 1].max()) >= rows or (np.bincount(rows_N, minlength=rows) != top).any():
        raise WireError("evidence.rows", f"not {top} tokens in each of {rows} rows")
    steps_N = np.frombuffer(stream.read(entries), np.uint8)
    tails_R = np.frombuffer(stream.read(rows), np.uint8)
    stream.close()
    order_N = np.argsort(rows_N, kind="stable")
    steps_RK = steps_N[order_N].reshape(rows, top)
    if steps_RK.min(axis=1).any():
        raise WireError("evidence.steps", "the least of a row is not 0")
    ids_RK = np.repeat(ids_U, counts_U)[order_N].reshape(rows, top).astype(np.uint32)
    return ids_RK, *_in_nats(steps_RK, tails_R)


def _in_steps(logp_RK: F32, tail_R: F32) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Rounded before the least is taken off, so that a least that moves a little moves no other number."""
    grid_RK = np.rint(np.clip(logp_RK, -1e6, 0) * STEPS).astype(np.int64)
    np.maximum(grid_RK, grid_RK.max(axis=1, keepdims=True) - _LARGEST, out=grid_RK)
    least_R = grid_RK.min(axis=1)
    with np.errstate(divide="ignore"):
        tail_grid_R: I64 = np.rint(np.clip(np.log(np.clip(tail_R, 0, 1)), -1e6, 0) * STEPS).astype(np.int64)
    above_R = np.minimum(tail_grid_R - least_R, _NO_TAIL // 2)
    # 2 n, and for negative n -2 n - 1.
    tails_R = 2 * np.abs(above_R) - (above_R < 0)
    return (grid_RK - least_R[:, None]).astype(np.uint8), np.minimum(tails_R, _NO_TAIL).astype(np.uint8)


def _in_nats(steps_RK: NDArray[np.uint8], tails_R: NDArray[np.uint8]) -> tuple[F32, F32]:
    nats_RK = steps_RK.astype(np.float64) / STEPS
    codes_R = tails_R.astype(np.int64)
    above_R = np.where(codes_R & 1, -((codes_R + 1) >> 1), codes_R >> 1)
    weight_R = np.where(codes_R == _NO_TAIL, 0.0, np.exp(above_R / STEPS))
    mass_R = np.exp(nats_RK).sum(axis=1) + weight_R
    logp_RK = np.minimum(nats_RK - np.log(mass_R)[:, None], 0)
    return logp_RK.astype(np.float32), (weight_R / mass_R).astype(np.float32)


def _times(ids_U: NDArray[np.uint32]) -> I64:
    return np.full(ids_U.size, ids_U.size, np.int64)


def _low_bits(total: int, counts: NDArray[np.integer[Any]]) -> I64:
    # The exponent of a positive integer is its number of binary digits.
    return np.maximum(np.frexp((total // counts).astype(np.float64))[1] - _UPPER, 0).astype(np.int64)


def _numbers(numbers: I64, low: I64) -> tuple[bytes, bytes, bytes]:
    """Upper parts, escapes and low bits."""
    upper = numbers >> low
    planes = [
        np.packbits((numbers[low > bit] >> bit & 1).astype(np.uint8), bitorder="little").tobytes()
        for bit in range(int(low.max(initial=0)))
    ]
    symbols = np.minimum(upper, _ESCAPE).astype(np.uint8)
    return symbols.tobytes(), upper[upper >= _ESCAPE].astype("<u4").tobytes(), b"".join(planes)


def _read(stream: Inflating, low: I64, most: int, field: str) -> I64:
    """As many numbers as `low` has entries, each at most `most`."""
    upper = np.frombuffer(stream.read(low.size), np.uint8).astype(np.int64)
    escaped = np.flatnonzero(upper == _ESCAPE)
    upper[escaped] = np.frombuffer(stream.read(4 * escaped.size), "<u4")
    numbers = upper << low
    for bit in range(int(low.max(initial=0))):
        at = np.flatnonzero(low > bit)
        bits = np.unpackbits(np.frombuffer(stream.read(-(-at.size // 8)), np.uint8), bitorder="little")
        if bits[at.size :].any():
            raise WireError(field, "bits behind the last number are not 0")
        numbers[at] |= bits[: at.size].astype(np.int64) << bit
    if int(numbers.max(initial=0)) > most or (upper[escaped] < _ESCAPE).any():
        raise WireError(field, "a number is too large, or an escape too small")
    return numbers
