"""Many small integers in few bytes: every list comes back, in each form, and no bytes do harm."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wire.errors import WireError
from wire.integers import MAX_NUMBERS, MOST, decode_integers, encode_integers

QUADS, NIBBLES, BYTES, GAPS = range(4)
SMALL = st.integers(-3, 3)
ANY = st.integers(-MOST, MOST)


@given(arrays(np.int32, st.integers(0, 300), elements=SMALL | ANY | st.just(0)))
def test_what_is_encoded_comes_back(numbers: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
    assert np.array_equal(decode_integers(encode_integers(numbers), numbers.size), numbers)


@pytest.mark.parametrize(
    ("spread", "moved", "form"),
    [(0.4, 1.0, QUADS), (2.0, 1.0, NIBBLES), (40.0, 1.0, BYTES), (2.0, 0.02, GAPS), (2000.0, 0.001, GAPS)],
)
def test_each_form_takes_little_more_than_the_entropy(spread: float, moved: float, form: int) -> None:
    rng = np.random.default_rng(0)
    numbers = np.rint(rng.normal(0, spread, 60_000) * (rng.random(60_000) < moved)).astype(np.int32)
    data = encode_integers(numbers)
    assert data[0] == form
    assert np.array_equal(decode_integers(data, numbers.size), numbers)
    _, counts = np.unique(numbers, return_counts=True)
    shares = counts / numbers.size
    entropy = float(-(shares * np.log2(shares)).sum()) * numbers.size / 8
    assert len(data) < 1.09 * entropy + 300


def test_long_gaps_and_large_numbers_among_few_come_back() -> None:
    numbers = np.zeros(200_000, np.int32)
    numbers[[0, 254, 255, 510, 766, 199_999]] = [1, -1, 300, -MOST, MOST, -127]
    data = encode_integers(numbers)
    assert data[0] == GAPS
    assert np.array_equal(decode_integers(data, numbers.size), numbers)


def test_no_changes_take_next_to_nothing() -> None:
    assert len(encode_integers(np.zeros(600_000, np.int32))) < 20


@given(st.binary(max_size=60), st.integers(0, 50))
@example(b"\x03\xff\xff\xff\xff\xff\xff\xff\xff", 50)
def test_any_bytes_decode_or_raise_a_wire_error(data: bytes, count: int) -> None:
    try:
        numbers = decode_integers(data, count)
    except WireError:
        return
    assert numbers.shape == (count,)
    assert np.abs(numbers).max(initial=0) <= MOST + 1


@pytest.mark.parametrize("form", [QUADS, NIBBLES, BYTES])
def test_a_stream_that_would_inflate_beyond_its_count_is_refused_unread(form: int) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = bytes((form,)) + bomb.compress(bytes(10**8)) + bomb.flush()
    with pytest.raises(WireError, match="does not end"):
        decode_integers(data, 1_000)


@pytest.mark.parametrize("cut", [0, 1, 5, 20])
def test_a_cut_or_lengthened_stream_is_refused(cut: int) -> None:
    data = encode_integers(np.arange(-50, 50, dtype=np.int32))
    with pytest.raises(WireError):
        decode_integers(data[:cut], 100)
    with pytest.raises(WireError):
        decode_integers(data + b"\x00", 100)


def test_gaps_that_lead_nowhere_are_refused() -> None:
    def gaps(nonzero: int, bytes_of_gaps: int, stream: bytes) -> bytes:
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        head = bytes((GAPS,)) + nonzero.to_bytes(4, "little") + bytes_of_gaps.to_bytes(4, "little")
        return head + packer.compress(stream) + packer.flush()

    assert decode_integers(gaps(1, 1, b"\x03\x02"), 4).tolist() == [0, 0, 0, 1]
    for bad in (
        gaps(1, 1, b"\x04\x02"),  # behind the last number
        gaps(1, 1, b"\xff\x02"),  # a gap that does not end
        gaps(1, 1, b"\x03\x00"),  # to a zero
        gaps(2, 2, b"\x00\xff\x02\x02"),  # fewer ends than numbers
        gaps(5, 5, bytes(5) + b"\x02" * 5),  # more numbers than there are
        gaps(1, 9, bytes(9) + b"\x02"),  # more gaps than numbers
    ):
        with pytest.raises(WireError, match=r"integers\.gaps"):
            decode_integers(bad, 4)


def test_what_receivers_would_refuse_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="magnitudes"):
        encode_integers(np.array([MOST + 1], np.int32))
    with pytest.raises(ValueError, match="numbers"):
        encode_integers(np.zeros(MAX_NUMBERS + 1, np.int32))
