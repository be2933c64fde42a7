"""Encoding and decoding byte rows and the likelihoods of spans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WireError
from wire.predictions.byte_rows import (
    MAX_BYTES,
    MAX_TOP,
    ByteRows,
    ByteShape,
    decode_byte_rows,
    encode_byte_rows,
)

SHAPE = ByteShape(offsets=20, spans=3)


def rows(shape: ByteShape = SHAPE, *, seed: int = 0, count: int = 4) -> ByteRows:
    rng = np.random.default_rng(seed)
    logits = 4 * rng.normal(size=(count, 512))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = np.sort(np.argsort(-chances, axis=1)[:, : shape.top], axis=1)
    kept = np.take_along_axis(chances, ids, axis=1)
    spans = np.where(np.arange(shape.spans) == 1, np.nan, -10 * rng.random(shape.spans))
    return ByteRows(
        np.sort(rng.permutation(shape.offsets)[:count]).astype(np.int64),
        ids.astype(np.uint32),
        np.log(kept).astype(np.float32),
        (1 - kept.sum(axis=1)).astype(np.float32),
        spans.astype(np.float32),
    )


@given(st.integers(0, 1_000), st.integers(1, 20))
def test_rounding_moves_a_probability_by_three_percent_and_a_span_by_a_128th(seed: int, count: int) -> None:
    sent = rows(seed=seed, count=count)

    got = decode_byte_rows(encode_byte_rows(sent, SHAPE), SHAPE)

    assert got.at_R.tolist() == sent.at_R.tolist()
    assert got.ids_RK.tolist() == sent.ids_RK.tolist()
    seen = sent.logp_RK > -15.9
    np.testing.assert_allclose(np.exp(got.logp_RK[seen]), np.exp(sent.logp_RK[seen]), rtol=0.032)
    np.testing.assert_allclose(got.tail_R, sent.tail_R, rtol=0.032)
    np.testing.assert_allclose(got.spans_S, sent.spans_S, atol=1 / 128 + 1e-6)
    assert np.isnan(got.spans_S[1])


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_decode_to_what_encodes_to_them_or_raise_wire_error(data: bytes, lengthen: bool) -> None:
    if lengthen and len(data) >= SHAPE.map_bytes:
        size = SHAPE.size(sum(byte.bit_count() for byte in data[: SHAPE.map_bytes]))
        data = (data * (size // len(data) + 1))[:size]
    try:
        got = decode_byte_rows(data, SHAPE)
    except WireError:
        return
    assert encode_byte_rows(got, SHAPE) == data


@given(st.integers(1, 6_500), st.integers(0, 2_000))
def test_a_shape_fits_the_bound_with_a_row_at_every_offset(offsets: int, spans: int) -> None:
    shape = ByteShape(offsets, spans)
    assert 2 <= shape.top <= MAX_TOP
    assert shape.size(offsets) <= MAX_BYTES


def test_a_reference_set_too_large_for_the_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit 60000 bytes"):
        ByteShape(9_000, 0)


def blob(**changes: Any) -> bytes:
    """One row at offset 5: 15 symbols of next to nothing and one that is certain."""
    ids = np.arange(16, dtype=np.uint32)[None]
    logp = np.full((1, 16), -15.9375, np.float32)
    logp[0, 3] = 0
    made = ByteRows(np.array([5]), ids, logp, np.zeros(1, np.float32), np.zeros(3, np.float32))
    return encode_byte_rows(replace(made, **changes), SHAPE)


@pytest.mark.parametrize(
    ("at", "value", "field"),
    [
        (0, 0, "bytes.length"),
        (0, 0x30, "bytes.length"),
        (3 + 1, 1, "bytes.symbols"),
        (3 + 31, 2, "bytes.symbols"),
        (3 + 2, 9, "bytes.symbols"),
        (3 + 32 + 3, 16, "bytes.mass"),
        (3 + 32 + 16, 0, "bytes.mass"),
    ],
)
def test_each_rule_is_checked_and_named(at: int, value: int, field: str) -> None:
    data = bytearray(blob())
    data[at] = value
    with pytest.raises(WireError) as caught:
        decode_byte_rows(bytes(data), SHAPE)
    assert caught.value.field == field


def test_a_row_behind_the_last_offset_is_refused() -> None:
    data = bytearray(blob())
    data[0], data[2] = 0, 0x10
    with pytest.raises(WireError, match="20 offsets"):
        decode_byte_rows(bytes(data), SHAPE)


def test_the_bytes_of_a_row() -> None:
    expected = (
        "200000" + "".join(f"{one:02x}00" for one in range(16)) + "ffffff00" + "ff" * 12 + "ff" + "0000" * 3
    )
    assert blob().hex() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at_R": np.array([20])}, "at_R must rise"),
        ({"ids_RK": np.arange(600, 616, dtype=np.uint32)[None]}, "symbols must be"),
        ({"tail_R": np.array([np.nan], np.float32)}, "not finite"),
        ({"tail_R": np.array([0.5], np.float32)}, "bytes.mass"),
        ({"spans_S": np.zeros(2, np.float32)}, "3 spans"),
    ],
)
def test_what_receivers_would_refuse_is_not_encoded(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blob(**change)
