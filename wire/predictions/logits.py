"""Encodes and decodes evidence: sparse top-k predictions on the reference set, in one of three forms.

For each of R rows (positions of the reference set) the K most probable next tokens are sent, by default in steps of 1/8
nat and entropy coded (`coded_rows.py`). The exact form holds:

    ids   R x K   uint16 where the vocabulary has at most 65,536 tokens, else uint32; strictly rising in a row
    logp  R x K   bfloat16 log-probabilities, in -10,000..0
    tail  R       bfloat16 probability of all other tokens together

The three arrays follow each other, little-endian, without a header: R, K and the vocabulary V belong to the network
and are part of the reference fingerprint. Log-probabilities are sent rather than raw logits, because the offset of
logits differs between models and carries no information. The tail is sent because without it a row does not sum to 1.

The third form serves networks that reproduce published work (Wagner, Fan and Jaggi 2024, arXiv 2404.09753). The form
is part of the reference fingerprint too. The ids are as above, followed by

    logits  R x K   float32, in -10,000..10,000

and nothing else. Logits are not rounded, because differences of large logits are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wire.errors import WireError
from wire.floats import F32, bf16_bits, bf16_values, count_non_finite
from wire.predictions.coded_rows import decode_coded, encode_coded, most_bytes

MASS_TOLERANCE = 0.02
"""How far the sum of a row's probabilities may lie from 1.

bfloat16 rounds a log-probability between -2^e and -2^(e + 1) by at most 2^(e - 8). That moves the sum of a row by less
than 0.017 for any distribution with K <= 256. The worst case has 51 entries near e^-4 and 205 near e^-8, which is where
the rounding error doubles; the uniform row of 256 moves by 0.014.
"""

MIN_LOGP = -10_000.0
"""Lowest log-probability. Guess: e^-104 is 0 in float32 already, and without a bound a finite number could be so large
that the sum of a few overflows."""

MAX_LOGIT = 10_000.0
"""Largest magnitude of a raw logit. Guess: logits of language models stay in the hundreds."""

MAX_ROWS = 65_536
MAX_TOP = 256
MAX_VOCABULARY = 2**31 - 1
MAX_CODED = 2**20
"""Most entries of coded rows: to decode them takes 60 MB. Larger reference sets are sent in the exact form."""


@dataclass(frozen=True, slots=True)
class RowsShape:
    """Shape of a network's evidence: `rows` rows of `top` tokens out of `vocabulary`.

    With `raw`, rows hold raw logits; otherwise log-probabilities and a tail, `coded` (`coded_rows.py`) or exact.
    """

    rows: int
    top: int
    vocabulary: int
    raw: bool = False
    coded: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= MAX_ROWS:
            raise ValueError(f"rows must be in 1..{MAX_ROWS}, got {self.rows}")
        if not 1 <= self.vocabulary <= MAX_VOCABULARY:
            raise ValueError(f"vocabulary must be in 1..{MAX_VOCABULARY}, got {self.vocabulary}")
        if not 1 <= self.top <= min(MAX_TOP, self.vocabulary):
            raise ValueError(f"top must be in 1..min({MAX_TOP}, vocabulary), got {self.top}")
        if self.coded and (self.raw or self.rows * self.top > MAX_CODED):
            raise ValueError(f"coded rows must not be raw and have at most {MAX_CODED} entries")

    @property
    def id_type(self) -> str:
        return "<u2" if self.vocabulary <= 65_536 else "<u4"

    @property
    def size(self) -> int:
        """Size of the encoded evidence in bytes, where it is not coded."""
        id_bytes = 2 if self.id_type == "<u2" else 4
        return self.rows * (self.top * (id_bytes + 4) if self.raw else self.top * (id_bytes + 2) + 2)

    def allows(self, size: int) -> bool:
        """Whether encoded evidence can take so many bytes."""
        return size <= most_bytes(self.rows, self.top) if self.coded else size == self.size


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """Decoded predictions: `ids_RK` (uint32, rising in each row), `logp_RK`, `tail_R` (float32)."""

    ids_RK: NDArray[np.uint32]
    logp_RK: F32
    tail_R: F32


@dataclass(frozen=True, slots=True, eq=False)
class LogitRows:
    """Decoded raw logits: `ids_RK` (uint32, rising in each row), `logits_RK` (float32)."""

    ids_RK: NDArray[np.uint32]
    logits_RK: F32


def check_evidence(data: bytes, shape: RowsShape) -> None:
    """Raises `WireError` where `data` is not evidence of this shape."""
    if shape.raw:
        decode_logits(data, shape)
    else:
        decode_rows(data, shape)


def encode_rows(rows: SparseRows, shape: RowsShape) -> bytes:
    """Encode predictions as an evidence blob. Raises `ValueError` where they do not fit `shape`.

    Log-probabilities are clipped to `MIN_LOGP`..0 and tails to 0..1: a sum in float32 may end slightly outside, and a
    model may exclude a token (log-probability minus infinity).
    """
    _expect(shape, raw=False)
    expected = (shape.rows, shape.top)
    if rows.ids_RK.shape != expected or rows.logp_RK.shape != expected or rows.tail_R.shape != expected[:1]:
        got = (rows.ids_RK.shape, rows.logp_RK.shape, rows.tail_R.shape)
        raise ValueError(f"ids, logp and tail must have {shape.rows} rows of {shape.top}, got shapes {got}")
    ids = _encoded_ids(rows.ids_RK, shape)
    if shape.coded:
        return _checked_coded(rows, shape)
    logp_RK = np.clip(rows.logp_RK, MIN_LOGP, 0).astype(np.float32)
    tail_R = np.clip(rows.tail_R, 0, 1).astype(np.float32)
    data = ids + bf16_bits(logp_RK).tobytes() + bf16_bits(tail_R).tobytes()
    try:
        decode_rows(data, shape)
    except WireError as error:
        raise ValueError(f"our own predictions do not pass the check of others: {error}") from None
    return data


def decode_rows(data: bytes, shape: RowsShape) -> SparseRows:
    """Decode and check predictions. Raises `WireError` and nothing else.

    Ids lie in the vocabulary and rise strictly along a row, so no id indexes out of bounds and none repeats. Every row
    sums to 1 within `MASS_TOLERANCE`.
    """
    _expect(shape, raw=False)
    if shape.coded:
        return SparseRows(*decode_coded(data, shape.rows, shape.top, shape.vocabulary))
    ids_RK, logp_at = _decoded_ids(data, shape)
    entries = shape.rows * shape.top
    logp_bits = np.frombuffer(data, "<u2", entries, logp_at)
    tail_bits = np.frombuffer(data, "<u2", shape.rows, logp_at + entries * 2)
    for field, bits in (("evidence.logp", logp_bits), ("evidence.tail", tail_bits)):
        bad = count_non_finite(bits)
        if bad:
            raise WireError(field, f"{bad} values are not finite")
    logp_RK = bf16_values(logp_bits).reshape(shape.rows, shape.top)
    tail_R = bf16_values(tail_bits)
    low, high = float(logp_RK.min()), float(logp_RK.max())
    if low < MIN_LOGP or high > 0:
        raise WireError("evidence.logp", f"{low:.4g}..{high:.4g} is not within {MIN_LOGP:g}..0")
    if float(tail_R.min()) < 0 or float(tail_R.max()) > 1:
        raise WireError("evidence.tail", "a value lies outside 0..1")
    _check_mass(logp_RK, tail_R)
    return SparseRows(ids_RK, logp_RK, tail_R)


def encode_logits(rows: LogitRows, shape: RowsShape) -> bytes:
    """Encode raw logits as an evidence blob of `shape.size` bytes, clipped to +-`MAX_LOGIT`.

    Raises `ValueError` where the arrays do not fit `shape` or a logit is NaN.
    """
    _expect(shape, raw=True)
    expected = (shape.rows, shape.top)
    if rows.ids_RK.shape != expected or rows.logits_RK.shape != expected:
        got = (rows.ids_RK.shape, rows.logits_RK.shape)
        raise ValueError(f"ids and logits must have {shape.rows} rows of {shape.top}, got shapes {got}")
    ids = _encoded_ids(rows.ids_RK, shape)
    data = ids + np.clip(rows.logits_RK, -MAX_LOGIT, MAX_LOGIT).astype("<f4").tobytes()
    try:
        decode_logits(data, shape)
    except WireError as error:
        raise ValueError(f"our own logits do not pass the check of others: {error}") from None
    return data


def decode_logits(data: bytes, shape: RowsShape) -> LogitRows:
    """Decode and check raw logits; ids follow the rules of `decode_rows`. Raises `WireError` and nothing else."""
    _expect(shape, raw=True)
    ids_RK, logits_at = _decoded_ids(data, shape)
    bits = np.frombuffer(data, "<u4", shape.rows * shape.top, logits_at)
    bad = count_non_finite(bits)
    if bad:
        raise WireError("evidence.logits", f"{bad} values are not finite")
    logits_RK = bits.view("<f4").astype(np.float32).reshape(shape.rows, shape.top)
    low, high = float(logits_RK.min()), float(logits_RK.max())
    if low < -MAX_LOGIT or high > MAX_LOGIT:
        raise WireError("evidence.logits", f"{low:.4g}..{high:.4g} is not within {MAX_LOGIT:g} of 0")
    return LogitRows(ids_RK, logits_RK)


def _expect(shape: RowsShape, *, raw: bool) -> None:
    if shape.raw != raw:
        raise ValueError(f"shape.raw must be {raw} for this form of evidence, got {shape.raw}")


def _checked_coded(rows: SparseRows, shape: RowsShape) -> bytes:
    """Coded, after the checks that receivers cannot make: what they decode rises along a row and sums to 1."""
    try:
        _check_rising(rows.ids_RK)
        _check_mass(np.clip(rows.logp_RK, MIN_LOGP, 0), np.clip(rows.tail_R, 0, 1))
    except WireError as error:
        raise ValueError(f"our own predictions are none: {error}") from None
    return encode_coded(rows.ids_RK, rows.logp_RK, rows.tail_R, shape.vocabulary)


def _encoded_ids(ids_RK: NDArray[np.uint32], shape: RowsShape) -> bytes:
    # Checked before the cast, which would wrap a large or negative id to a valid one.
    if int(ids_RK.min()) < 0 or int(ids_RK.max()) >= shape.vocabulary:
        raise ValueError(f"ids must be in 0..{shape.vocabulary - 1}, got up to {int(ids_RK.max())}")
    return ids_RK.astype(shape.id_type).tobytes()


def _decoded_ids(data: bytes, shape: RowsShape) -> tuple[NDArray[np.uint32], int]:
    """The checked ids, with which both forms begin, and the byte offset behind them."""
    if len(data) != shape.size:
        raise WireError("evidence.length", f"{len(data)} bytes, the reference set has {shape.size}")
    entries = shape.rows * shape.top
    ids_RK = np.frombuffer(data, shape.id_type, entries).astype(np.uint32).reshape(shape.rows, shape.top)
    if int(ids_RK.max()) >= shape.vocabulary:
        raise WireError("evidence.ids", f"{int(ids_RK.max())} >= vocabulary {shape.vocabulary}")
    _check_rising(ids_RK)
    return ids_RK, entries * np.dtype(shape.id_type).itemsize


def _check_rising(ids_RK: NDArray[np.uint32]) -> None:
    if not bool(np.all(ids_RK[:, 1:] > ids_RK[:, :-1])):
        raise WireError("evidence.ids", "not strictly rising along a row")


def _check_mass(logp_RK: F32, tail_R: F32) -> None:
    # In float64, so that the sum adds no error of its own to the tolerance.
    mass_R = np.exp(logp_RK, dtype=np.float64).sum(axis=1) + tail_R
    off = float(np.abs(mass_R - 1).max())
    if off > MASS_TOLERANCE:
        raise WireError("evidence.mass", f"a row's probabilities sum {off:.3g} away from 1")
