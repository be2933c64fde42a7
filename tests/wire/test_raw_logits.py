"""Encoding and decoding raw logits, checked as strictly as log-probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WireError
from wire.predictions.logits import (
    MAX_LOGIT,
    LogitRows,
    RowsShape,
    SparseRows,
    check_evidence,
    decode_logits,
    decode_rows,
    encode_logits,
    encode_rows,
)

SMALL = RowsShape(rows=4, top=3, vocabulary=100, raw=True)


def shape_of(rows: int, top: int, extra: int) -> RowsShape:
    return RowsShape(rows, top, top + extra, raw=True)


SHAPES = st.builds(
    shape_of,
    st.integers(1, 6),
    st.integers(1, 256),
    st.one_of(st.integers(0, 3), st.sampled_from([65_536 - 256, 65_536, 200_000])),
)


def random_logits(shape: RowsShape, seed: int) -> LogitRows:
    rng = np.random.default_rng(seed)
    ids = np.sort([rng.choice(shape.vocabulary, shape.top, replace=False) for _ in range(shape.rows)], axis=1)
    logits = rng.uniform(-MAX_LOGIT, MAX_LOGIT, ids.shape)
    return LogitRows(ids.astype(np.uint32), logits.astype(np.float32))


def small() -> tuple[np.ndarray, np.ndarray]:
    """Valid ids and bits of logits, for a test to make invalid."""
    ids = np.tile(np.array([3, 50, 99], "<u2"), (4, 1))
    return ids, np.full((4, 3), -31.5, "<f4").view("<u4")


@given(SHAPES, st.integers(0, 2**32))
def test_raw_logits_round_trip_to_the_bit(shape: RowsShape, seed: int) -> None:
    sent = random_logits(shape, seed)
    data = encode_logits(sent, shape)
    received = decode_logits(data, shape)
    assert len(data) == shape.size
    assert (received.ids_RK == sent.ids_RK).all()
    assert (received.logits_RK == sent.logits_RK).all()
    assert encode_logits(received, shape) == data


@given(st.binary(min_size=SMALL.size, max_size=SMALL.size))
def test_any_bytes_decode_or_raise_wire_error(data: bytes) -> None:
    try:
        rows = decode_logits(data, SMALL)
    except WireError:
        return
    assert encode_logits(rows, SMALL) == data


@pytest.mark.parametrize("by", [-1, 1, 2, 100_000])
def test_another_length_is_refused(by: int) -> None:
    with pytest.raises(WireError) as caught:
        decode_logits(bytes(SMALL.size + by), SMALL)
    assert caught.value.field == "evidence.length"


@pytest.mark.parametrize(
    ("at", "bits", "why"),
    [
        ((0, 0), 0x7FC00000, "1 values are not finite"),
        ((3, 2), 0xFF800000, "1 values are not finite"),
        ((1, 1), np.float32(10_001).view("<u4"), "not within 10000 of 0"),
        ((1, 1), np.float32(-3e38).view("<u4"), "not within 10000 of 0"),
    ],
)
def test_a_logit_out_of_range_is_refused(at: tuple[int, int], bits: int, why: str) -> None:
    ids, logits = small()
    logits[at] = bits
    with pytest.raises(WireError, match=why) as caught:
        decode_logits(ids.tobytes() + logits.tobytes(), SMALL)
    assert caught.value.field == "evidence.logits"


@pytest.mark.parametrize(
    ("at", "value", "why"), [((2, 2), 100, "100 >= vocabulary 100"), ((1, 2), 50, "not strictly rising")]
)
def test_ids_are_held_to_the_same_rules(at: tuple[int, int], value: int, why: str) -> None:
    ids, logits = small()
    ids[at] = value
    with pytest.raises(WireError, match=why) as caught:
        decode_logits(ids.tobytes() + logits.tobytes(), SMALL)
    assert caught.value.field == "evidence.ids"


def test_a_token_that_the_model_excludes_is_sent_as_the_least() -> None:
    shape = RowsShape(1, 2, 2, raw=True)
    excluded = LogitRows(np.array([[0, 1]], np.uint32), np.array([[3, -np.inf]], np.float32))
    assert decode_logits(encode_logits(excluded, shape), shape).logits_RK.tolist() == [[3.0, -MAX_LOGIT]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids_RK": np.array([[0, 65_537]], np.uint32)}, "ids must be in 0..9"),
        ({"ids_RK": np.array([[-1, 5]], np.int64)}, "ids must be in 0..9"),
        ({"ids_RK": np.array([[5, 5]], np.uint32)}, "not strictly rising"),
        ({"ids_RK": np.array([[1, 2, 3]], np.uint32)}, "must have 1 rows of 2"),
        ({"logits_RK": np.zeros((2, 2), np.float32)}, "must have 1 rows of 2"),
        ({"logits_RK": np.array([[np.nan, 1]], np.float32)}, "evidence.logits: 1 values"),
    ],
)
def test_what_receivers_would_refuse_is_not_encoded(
    change: dict[str, npt.NDArray[Any]], message: str
) -> None:
    good = LogitRows(np.array([[0, 1]], np.uint32), np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match=message):
        encode_logits(replace(good, **change), RowsShape(1, 2, 10, raw=True))


def test_each_form_of_evidence_is_checked_by_its_own_rules() -> None:
    raw, plain = RowsShape(1, 1, 2, raw=True), RowsShape(1, 1, 2)
    ids, one = np.zeros((1, 1), np.uint32), np.ones((1, 1), np.float32)
    logits = encode_logits(LogitRows(ids, one), raw)
    rows = encode_rows(SparseRows(ids, 0 * one, np.zeros(1, np.float32)), plain)
    check_evidence(logits, raw)
    check_evidence(rows, plain)
    # Of one size here (2 + 4 = 2 + 2 + 2), so that only the content can tell.
    assert len(logits) == len(rows)
    with pytest.raises(WireError):
        check_evidence(logits, plain)


def test_encoding_one_form_with_the_shape_of_the_other_is_a_value_error() -> None:
    plain = replace(SMALL, raw=False)
    logits = random_logits(SMALL, 0)
    with pytest.raises(ValueError, match="raw must be True"):
        encode_logits(logits, plain)
    with pytest.raises(ValueError, match="raw must be True"):
        decode_logits(b"", plain)
    with pytest.raises(ValueError, match="raw must be False"):
        decode_rows(b"", SMALL)
