"""Encoding and decoding sparse predictions."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WireError
from wire.floats import bf16_bits
from wire.predictions.logits import MASS_TOLERANCE, MIN_LOGP, RowsShape, SparseRows, decode_rows, encode_rows

SMALL = RowsShape(rows=4, top=3, vocabulary=100)


def shape_of(rows: int, top: int, extra: int) -> RowsShape:
    return RowsShape(rows, top, top + extra)


SHAPES = st.builds(
    shape_of,
    st.integers(1, 6),
    st.integers(1, 256),
    st.one_of(st.integers(0, 3), st.sampled_from([65_536 - 256, 65_536, 200_000])),
)


def random_rows(shape: RowsShape, seed: int) -> SparseRows:
    """Softmax of normal logits, from nearly uniform to nearly certain, and the top of each row."""
    rng = np.random.default_rng(seed)
    vocabulary = min(shape.vocabulary, 2_000)
    scale = rng.choice([0.01, 1.0, 30.0])
    logits = rng.standard_normal((shape.rows, vocabulary)) * scale
    logp = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
    logp -= logits.max(1, keepdims=True)
    ids = np.sort(np.argsort(-logp, axis=1)[:, : shape.top], axis=1)
    kept = np.take_along_axis(logp, ids, axis=1)
    tail = 1 - np.exp(kept).sum(1)
    moved = ids + (shape.vocabulary - vocabulary)  # So that the largest ids occur.
    return SparseRows(moved.astype(np.uint32), kept.astype(np.float32), tail.astype(np.float32))


def fields(data: bytes, shape: RowsShape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views of the three parts of a blob, to be changed."""
    raw = np.frombuffer(bytearray(data), np.uint8)
    entries = shape.rows * shape.top
    id_bytes = entries * np.dtype(shape.id_type).itemsize
    ids = raw[:id_bytes].view(shape.id_type).reshape(shape.rows, shape.top)
    logp = raw[id_bytes : id_bytes + 2 * entries].view("<u2").reshape(shape.rows, shape.top)
    return ids, logp, raw[id_bytes + 2 * entries :].view("<u2")


def blob(ids: np.ndarray, logp: np.ndarray, tail: np.ndarray) -> bytes:
    return ids.tobytes() + logp.tobytes() + tail.tobytes()


def bits(value: float) -> int:
    return int(bf16_bits(np.array([value], np.float32))[0])


@given(SHAPES, st.integers(0, 2**32))
def test_rows_round_trip_within_the_precision_of_bfloat16(shape: RowsShape, seed: int) -> None:
    sent = random_rows(shape, seed)
    data = encode_rows(sent, shape)
    assert len(data) == shape.size
    received = decode_rows(data, shape)
    assert np.array_equal(received.ids_RK, sent.ids_RK)
    # Half a unit in the last of eight bits; a sum a little above 1 gives a log-probability a little above 0.
    np.testing.assert_allclose(received.logp_RK, np.minimum(sent.logp_RK, 0), rtol=2.0**-8, atol=1e-30)
    np.testing.assert_allclose(received.tail_R, np.clip(sent.tail_R, 0, 1), rtol=2.0**-8, atol=1e-30)
    assert encode_rows(received, shape) == data


@given(st.integers(0, 2**32), st.integers(1, 256), st.floats(0.001, 100))
def test_rounding_never_uses_up_the_tolerance(seed: int, top: int, concentration: float) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(top + 1, concentration), 8)
    ids = np.tile(np.arange(top, dtype=np.uint32), (8, 1))
    with np.errstate(divide="ignore"):
        logp = np.log(shares[:, :top]).astype(np.float32)
    rows = SparseRows(ids, logp, shares[:, top].astype(np.float32))
    received = decode_rows(encode_rows(rows, RowsShape(8, top, top)), RowsShape(8, top, top))
    mass = np.exp(received.logp_RK, dtype=np.float64).sum(1) + received.tail_R
    assert np.abs(mass - 1).max() < 0.017 < MASS_TOLERANCE


@pytest.mark.parametrize("towards", [-1, 1])
def test_the_row_that_rounding_moves_most_passes(towards: int) -> None:
    # The worst case of the bound at `MASS_TOLERANCE`: log-probabilities next to the middle between two bfloat16, just
    # below -4 and -8, where the spacing doubles.
    logp = np.array([-(4 + 2.0**-6)] * 51 + [-(8 + 2.0**-5)] * 205, np.float32)
    logp += np.float32(towards * 1e-5)
    tail = np.array([1 - np.exp(logp, dtype=np.float64).sum()], np.float32)
    rows = SparseRows(np.arange(256, dtype=np.uint32)[None], logp[None], tail)
    received = decode_rows(encode_rows(rows, RowsShape(1, 256, 256)), RowsShape(1, 256, 256))
    mass = float(np.exp(received.logp_RK, dtype=np.float64).sum() + received.tail_R[0])
    assert 0.016 < abs(mass - 1) < 0.017


def test_the_uniform_row_of_all_entries_passes() -> None:
    shape = RowsShape(1, 256, 256)
    ids = np.arange(256, dtype=np.uint32)[None]
    uniform = SparseRows(ids, np.full((1, 256), -np.log(256), np.float32), np.zeros(1, np.float32))
    assert decode_rows(encode_rows(uniform, shape), shape).tail_R[0] == 0


@pytest.mark.parametrize(("vocabulary", "id_type"), [(65_536, "<u2"), (65_537, "<u4")])
def test_the_width_of_ids_follows_from_the_vocabulary(vocabulary: int, id_type: str) -> None:
    shape = RowsShape(1, 1, vocabulary)
    assert shape.id_type == id_type
    last = SparseRows(
        np.array([[vocabulary - 1]], np.uint32), np.zeros((1, 1), np.float32), np.zeros(1, np.float32)
    )
    data = encode_rows(last, shape)
    assert data == (vocabulary - 1).to_bytes(2 if id_type == "<u2" else 4, "little") + bytes(4)
    assert decode_rows(data, shape).ids_RK[0, 0] == vocabulary - 1


@pytest.mark.parametrize("by", [-1, 1, 2, 100_000])
def test_another_length_is_refused(by: int) -> None:
    with pytest.raises(WireError) as caught:
        decode_rows(bytes(SMALL.size + by), SMALL)
    assert caught.value.field == "evidence.length"


@pytest.mark.parametrize(
    ("part", "at", "value", "field", "why"),
    [
        ("ids", (2, 2), 100, "evidence.ids", "100 >= vocabulary 100"),
        ("ids", (0, 0), 0xFFFF, "evidence.ids", "65535 >= vocabulary 100"),  # -1, had it a sign
        ("ids", (3, 1), None, "evidence.ids", "not strictly rising"),  # equal to its left neighbour
        ("ids", (1, 2), 0, "evidence.ids", "not strictly rising"),
        ("logp", (0, 1), 0x7FC0, "evidence.logp", "1 values are not finite"),
        ("logp", (0, 1), 0xFF80, "evidence.logp", "1 values are not finite"),
        ("logp", (0, 1), 0x0001, "evidence.logp", "not within"),  # the smallest subnormal
        ("logp", (1, 1), bits(0.5), "evidence.logp", "not within"),
        ("logp", (1, 1), bits(-1.1e4), "evidence.logp", "not within -10000..0"),
        ("logp", (1, 1), bits(-3e38), "evidence.logp", "not within -10000..0"),
        ("tail", 1, 0x7F80, "evidence.tail", "1 values are not finite"),
        ("tail", 1, bits(-0.01), "evidence.tail", "outside 0..1"),
        ("tail", 1, bits(1.01), "evidence.tail", "outside 0..1"),
        ("tail", 3, bits(0.9), "evidence.mass", "away from 1"),
        ("logp", (3, 0), bits(-9_000.0), "evidence.mass", "away from 1"),
        ("logp", (3, 0), 0, "evidence.mass", "away from 1"),
    ],
)
def test_each_rule_is_checked_and_named(
    part: str, at: int | tuple[int, int], value: int | None, field: str, why: str
) -> None:
    quarter = SparseRows(
        np.tile(np.array([3, 50, 99], np.uint32), (4, 1)),
        np.full((4, 3), np.log(0.25), np.float32),
        np.full(4, 0.25, np.float32),
    )
    ids, logp, tail = fields(encode_rows(quarter, SMALL), SMALL)
    target = {"ids": ids, "logp": logp, "tail": tail}[part]
    target[at] = ids[3, 0] if value is None else value
    with pytest.raises(WireError, match=why) as caught:
        decode_rows(blob(ids, logp, tail), SMALL)
    assert caught.value.field == field


@given(st.binary(min_size=SMALL.size, max_size=SMALL.size))
def test_any_bytes_decode_or_raise_wire_error(data: bytes) -> None:
    try:
        rows = decode_rows(data, SMALL)
    except WireError:
        return
    assert encode_rows(rows, SMALL) == data


def test_a_token_that_the_model_excludes_is_sent_as_the_least() -> None:
    rows = SparseRows(
        np.array([[0, 1]], np.uint32), np.array([[0, -np.inf]], np.float32), np.zeros(1, np.float32)
    )
    shape = RowsShape(1, 2, 2)
    assert decode_rows(encode_rows(rows, shape), shape).logp_RK[0].tolist() == [0.0, -9984.0]
    assert MIN_LOGP <= -9984.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids_RK": np.array([[0, 65_537]], np.uint32)}, "ids must be in 0..9"),
        ({"ids_RK": np.array([[-1, 5]], np.int64)}, "ids must be in 0..9"),
        ({"ids_RK": np.array([[5, 5]], np.uint32)}, "not strictly rising"),
        ({"ids_RK": np.array([[1, 2, 3]], np.uint32)}, "must have 1 rows of 2"),
        ({"tail_R": np.zeros(2, np.float32)}, "must have 1 rows of 2"),
        ({"tail_R": np.full(1, np.nan, np.float32)}, "evidence.tail: 1 values"),
        ({"logp_RK": np.array([[np.nan, -0.5]], np.float32)}, "evidence.logp: 1 values"),
        ({"logp_RK": np.array([[-5, -5]], np.float32)}, "evidence.mass"),
    ],
)
def test_what_receivers_would_refuse_is_not_encoded(
    change: dict[str, npt.NDArray[Any]], message: str
) -> None:
    half = np.full((1, 2), np.log(0.5), np.float32)
    good = SparseRows(np.array([[0, 1]], np.uint32), half, np.zeros(1, np.float32))
    with pytest.raises(ValueError, match=message):
        encode_rows(replace(good, **change), RowsShape(1, 2, 10))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 1, 10), "rows"),
        ((65_537, 1, 10), "rows"),
        ((1, 0, 10), "top"),
        ((1, 257, 1_000), "top"),
        ((1, 11, 10), "top"),
        ((1, 1, 0), "vocabulary"),
        ((1, 1, 2**31), "vocabulary"),
    ],
)
def test_an_impossible_shape_is_a_value_error(numbers: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} must be in"):
        RowsShape(*numbers)


def test_decoding_takes_less_than_ten_times_the_blob() -> None:
    for vocabulary in (60_000, 200_000):
        shape = RowsShape(500, 16, vocabulary)
        data = encode_rows(random_rows(shape, 0), shape)
        tracemalloc.start()
        decode_rows(data, shape)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * len(data)
