"""Predictions in steps of 1/8 nat: round trips, bounds of their error and size, and blobs that break the form."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.rows.evidence import prediction_distance
from wire.deflate import deflated
from wire.errors import WireError
from wire.predictions.coded_rows import STEPS, most_bytes
from wire.predictions.logits import MAX_CODED, RowsShape, SparseRows, decode_rows, encode_rows

SMALL = RowsShape(4, 3, 1_000, coded=True)
PUBLISHED = RowsShape(200, 100, 50_257, coded=True)
DEFAULT = RowsShape(511, 8, 4_096, coded=True)
"""The default reference set, in tokens of the embedded base."""


def softmax_rows(shape: RowsShape, seed: int, scale: float, common: float = 0.0) -> SparseRows:
    """The top of the softmax of normal logits; `common` is how much of them is the same in all rows."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((shape.rows, shape.vocabulary)) * scale
    logits += common * rng.standard_normal(shape.vocabulary)
    logits -= logits.max(axis=1, keepdims=True)
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    ids = np.sort(np.argsort(-logp, axis=1)[:, : shape.top], axis=1)
    kept = np.take_along_axis(logp, ids, axis=1)
    tail = np.maximum(1 - np.exp(kept).sum(axis=1), 0)
    return SparseRows(ids.astype(np.uint32), kept.astype(np.float32), tail.astype(np.float32))


def _coded_shape(rows: int, top: int, extra: int) -> RowsShape:
    return RowsShape(rows, top, top + extra, coded=True)


SHAPES = st.builds(
    _coded_shape,
    st.integers(1, 40),
    st.integers(1, 30),
    st.sampled_from([0, 1, 3, 500, 3_000]),
)


@given(SHAPES, st.integers(0, 2**32), st.sampled_from([0.01, 1.0, 30.0]))
def test_what_is_coded_comes_back_with_equal_tokens_and_numbers_within_a_step(
    shape: RowsShape, seed: int, scale: float
) -> None:
    rows = softmax_rows(shape, seed, scale)
    data = encode_rows(rows, shape)
    got = decode_rows(data, shape)
    assert shape.allows(len(data))
    assert np.array_equal(got.ids_RK, rows.ids_RK)
    np.testing.assert_allclose(np.exp(got.logp_RK).sum(axis=1) + got.tail_R, 1, atol=1e-5)
    # Half a step of its own rounding, half of what the row's sum was rounded by. What is less likely by 31.9 nats, or
    # a tail so far below the least, says less than float32 can tell of a sum of 1.
    told = rows.logp_RK > rows.logp_RK.max(axis=1, keepdims=True) - 31
    assert np.abs(got.logp_RK - rows.logp_RK)[told].max() <= 1 / STEPS + 1e-4
    np.testing.assert_allclose(got.tail_R, rows.tail_R, rtol=1.14 / STEPS, atol=2e-6)


def test_tails_of_nothing_and_tokens_that_a_model_excludes() -> None:
    shape = RowsShape(2, 2, 2, coded=True)
    rows = SparseRows(
        np.array([[0, 1], [0, 1]], np.uint32),
        np.array([[0, -np.inf], [np.log(0.5), np.log(0.5)]], np.float32),
        np.zeros(2, np.float32),
    )
    got = decode_rows(encode_rows(rows, shape), shape)
    np.testing.assert_allclose(got.logp_RK, [[0, -255 / STEPS], [-np.log(2), -np.log(2)]], atol=1e-6)
    assert got.tail_R.tolist() == [0, 0]


def test_the_published_number_of_predictions_fits_40_kb_whatever_the_tokens() -> None:
    # Tokens drawn evenly from the whole vocabulary: nothing can be told from one row about another.
    even = encode_rows(softmax_rows(PUBLISHED, 0, 2.0), PUBLISHED)
    alike = encode_rows(softmax_rows(PUBLISHED, 0, 1.0, common=1.5), PUBLISHED)
    exact = RowsShape(200, 100, 50_257).size
    assert len(even) <= 40_000 < exact / 2
    assert len(alike) < 0.7 * len(even)


def test_the_default_reference_set_fits_6_kb() -> None:
    # Five languages and code share frequent tokens as the embedded base's predictions do: 4.3 to 5.6 kB there.
    assert len(encode_rows(softmax_rows(DEFAULT, 0, 1.0, common=3.0), DEFAULT)) <= 6_000


def test_distances_keep_their_order_and_move_by_less_than_a_hundredth() -> None:
    rng = np.random.default_rng(1)
    shape = RowsShape(100, 8, 500, coded=True)
    logits = rng.standard_normal((100, 500)) * 2
    peers = [_top(logits + step * rng.standard_normal(logits.shape), 8) for step in (0, 0.1, 0.2, 0.4, 0.8)]
    sent = [decode_rows(encode_rows(one, shape), shape) for one in peers]
    exact = [prediction_distance(peers[0], one).mean for one in peers[1:]]
    coded = [prediction_distance(sent[0], one).mean for one in sent[1:]]
    assert sorted(coded) == coded
    np.testing.assert_allclose(coded, exact, atol=0.01)


def test_copies_that_differ_by_rounding_stay_copies() -> None:
    shape = RowsShape(511, 8, 500, coded=True)
    logits = np.random.default_rng(2).standard_normal((511, 500)) * 2
    noise = 1e-3 * np.random.default_rng(3).standard_normal(logits.shape)
    one, other = (decode_rows(encode_rows(_top(each, 8), shape), shape) for each in (logits, logits + noise))
    assert prediction_distance(one, other).mean < 1e-3


def _top(logits: np.ndarray, top: int) -> SparseRows:
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    ids = np.sort(np.argsort(-logp, axis=1)[:, :top], axis=1)
    kept = np.take_along_axis(logp, ids, axis=1).astype(np.float32)
    return SparseRows(ids.astype(np.uint32), kept, (1 - np.exp(kept).sum(axis=1)).astype(np.float32))


def coded(
    distinct: int = 3,
    ids: bytes = bytes((1, 2, 3)),
    low: bytes = b"",
    counts: bytes = bytes((3, 3, 3)),
    rows: bytes = bytes(12),
    steps: bytes = bytes(12),
    tails: bytes = bytes(4),
    behind: bytes = b"",
) -> bytes:
    """Four rows of the tokens 1, 4 and 8 of eighteen, all equally likely, with changes."""
    return distinct.to_bytes(4, "little") + deflated(ids, low, counts, rows, steps, tails) + behind


EIGHTEEN = RowsShape(4, 3, 18, coded=True)


def test_a_blob_written_by_hand() -> None:
    rows = decode_rows(coded(), EIGHTEEN)
    assert rows.ids_RK.tolist() == [[1, 4, 8]] * 4
    np.testing.assert_allclose(np.exp(rows.logp_RK), 0.25, rtol=1e-6)
    assert encode_rows(rows, EIGHTEEN) == coded()


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "evidence.length"),
        (coded(distinct=2), "evidence.ids"),
        (coded(distinct=13), "evidence.ids"),
        (coded(distinct=2**32 - 1), "evidence.ids"),
        (coded(ids=bytes((1, 2, 14))), "evidence.ids"),
        (coded(ids=bytes((1, 2, 255)), low=b"\xff\xff\xff\xff"), "evidence.ids"),
        (coded(ids=bytes((1, 2, 255)), low=b"\x03\0\0\0"), "evidence.ids"),
        (coded(counts=bytes((3, 3, 2))), "evidence.counts"),
        (coded(counts=bytes((3, 3, 4))), "evidence.counts"),
        (coded(rows=bytes((1, *[0] * 11))), "evidence.rows"),
        (coded(rows=bytes((5, *[0] * 11))), "evidence.rows"),
        (coded(steps=bytes((1,)) * 12), "evidence.steps"),
        (coded(tails=b""), "evidence.deflate"),
        (coded(tails=bytes(5)), "evidence.deflate"),
        (coded(behind=b"\0"), "evidence.deflate"),
        (coded()[:-1], "evidence.deflate"),
        (b"\3\0\0\0" + b"\xff" * 8, "evidence.deflate"),
    ],
)
def test_a_blob_that_breaks_the_form_is_refused_by_name(data: bytes, field: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_rows(data, EIGHTEEN)
    assert caught.value.field == field


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_decode_or_raise_wire_error(data: bytes, inflates: bool) -> None:
    blob = data[:4] + deflated(data[4:]) if inflates else data
    try:
        rows = decode_rows(blob, SMALL)
    except WireError:
        return
    assert (rows.ids_RK < SMALL.vocabulary).all()


def test_a_bomb_takes_no_more_memory_than_its_shape_allows() -> None:
    shape = RowsShape(1_000, 64, 50_000, coded=True)
    bomb = (64_000).to_bytes(4, "little") + deflated(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(WireError):
        decode_rows(bomb, shape)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * shape.rows * shape.top + len(bomb)


@pytest.mark.parametrize(
    ("logp", "tail", "ids", "message"),
    [
        ([np.nan, -0.7], 0.0, [0, 1], "not finite"),
        ([-0.7, -0.7], np.nan, [0, 1], "not finite"),
        ([-5, -5], 0.0, [0, 1], "evidence.mass"),
        ([-0.7, -0.7], 0.0, [1, 1], "not strictly rising"),
        ([-0.7, -0.7], 0.0, [0, 10], r"ids must be in 0..9"),
    ],
)
def test_what_is_no_prediction_is_not_encoded(
    logp: list[float], tail: float, ids: list[int], message: str
) -> None:
    rows = SparseRows(np.array([ids], np.uint32), np.array([logp], np.float32), np.array([tail], np.float32))
    with pytest.raises(ValueError, match=message):
        encode_rows(rows, RowsShape(1, 2, 10, coded=True))


def test_coded_rows_are_bounded_and_not_of_raw_logits() -> None:
    with pytest.raises(ValueError, match="coded rows"):
        RowsShape(1, 1, 50_000, raw=True, coded=True)
    with pytest.raises(ValueError, match="coded rows"):
        RowsShape(65_536, MAX_CODED // 65_536 + 1, 50_000, coded=True)
    assert not SMALL.allows(most_bytes(SMALL.rows, SMALL.top) + 1)
