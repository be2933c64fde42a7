"""Encoding and decoding updates."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.digest import fingerprint_of
from wire.errors import WireError
from wire.floats import bf16_bits, bf16_values
from wire.updates.tensors import Codec, Layout, TensorSpec, check_update, decode_update, encode_update

CODECS: tuple[Codec, ...] = ("bf16", "f32")
PAIR = (TensorSpec("m.lora_A", (2, 3)), TensorSpec("m.lora_B", (4, 2)))


def layout_of(shapes: list[tuple[int, ...]], codec: Codec) -> Layout:
    return Layout(tuple(TensorSpec(f"t{index}", shape) for index, shape in enumerate(shapes)), codec)


SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
LAYOUTS = st.builds(
    layout_of,
    st.lists(SHAPES, max_size=4),
    st.sampled_from(CODECS),
)


def random_update(layout: Layout, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in layout.tensors}


@given(LAYOUTS, st.integers(0, 2**32))
def test_an_update_round_trips_within_the_precision_of_its_type(layout: Layout, seed: int) -> None:
    sent = random_update(layout, seed)
    data = encode_update(sent, layout)
    assert len(data) == layout.size == layout.count * (2 if layout.codec == "bf16" else 4)
    received = decode_update(data, layout)
    assert list(received) == [spec.name for spec in layout.tensors]
    for name, values in received.items():
        expected = bf16_values(bf16_bits(sent[name])) if layout.codec == "bf16" else sent[name]
        assert values.dtype == np.float32
        assert np.array_equal(values, expected)
    assert encode_update(received, layout) == data


@given(LAYOUTS, st.data())
def test_any_bytes_of_the_right_length_decode_or_name_a_tensor(layout: Layout, draw: st.DataObject) -> None:
    data = draw.draw(st.binary(min_size=layout.size, max_size=layout.size))
    try:
        received = decode_update(data, layout)
    except WireError as error:
        field = error.field
        assert field.removeprefix("update.") in {spec.name for spec in layout.tensors}
        with pytest.raises(WireError, match=field):
            check_update(data, layout)
        return
    assert all(np.isfinite(values).all() for values in received.values())
    assert encode_update(received, layout) == data
    assert check_update(data, layout).keys() == received.keys()


def test_values_travel_in_layout_order_row_by_row_little_endian() -> None:
    layout = Layout((TensorSpec("b", (1,)), TensorSpec("a", (2, 2))), "f32")
    update = {"a": np.array([[1, 2], [3, 4]], np.float32), "b": np.array([-1], np.float32)}
    assert encode_update(update, layout) == struct.pack("<5f", -1, 1, 2, 3, 4)
    assert encode_update(update, Layout(layout.tensors)) == bytes.fromhex("80bf 803f 0040 4040 8040")


def test_the_memory_order_of_what_is_sent_does_not_matter() -> None:
    layout = Layout((TensorSpec("a", (2, 3)),), "f32")
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    as_sent = encode_update({"a": values}, layout)
    assert encode_update({"a": np.asfortranarray(values)}, layout) == as_sent
    assert encode_update({"a": values.astype(">f4")}, layout) == as_sent


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("by", [-1, 1, 2, 1_000])
def test_another_length_is_refused_before_anything_is_read(codec: Codec, by: int) -> None:
    layout = Layout(PAIR, codec)
    wrong = bytes(max(0, layout.size + by))
    for decode in (decode_update, check_update):
        with pytest.raises(WireError) as caught:
            decode(wrong, layout)
        assert caught.value.field == "update.length"
    with pytest.raises(WireError, match=f"0 bytes, the layout has {layout.size}"):
        decode_update(b"", layout)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_names_its_tensor(codec: Codec, bad: float) -> None:
    layout = Layout(PAIR, codec)
    data = bytearray(encode_update(random_update(layout, 0), layout))
    value = struct.pack("<f", bad)
    data[-4:] = value if codec == "f32" else value[2:] * 2
    for decode in (decode_update, check_update):
        with pytest.raises(WireError) as caught:
            decode(bytes(data), layout)
        assert caught.value.field == "update.m.lora_B"
        assert caught.value.why == f"{1 if codec == 'f32' else 2} values are not finite"


@pytest.mark.parametrize(
    ("value", "rms"),
    [(0.0, 0.0), (-2.0, 2.0), (2.0**127, 2.0**127), (2.0**-133, 2.0**-133), (65504.0, 65536.0)],
)
def test_the_root_mean_square_of_a_constant_is_its_size(value: float, rms: float) -> None:
    # Largest power of two, the smallest subnormal of bfloat16, and the largest float16, which rounds up.
    layout = Layout(PAIR)
    data = encode_update({spec.name: np.full(spec.shape, value, np.float32) for spec in PAIR}, layout)
    assert check_update(data, layout) == {spec.name: rms for spec in PAIR}


def test_the_root_mean_square_agrees_with_float64() -> None:
    layout = Layout((TensorSpec("a", (300, 1000)),), "f32")
    update = random_update(layout, 1)
    expected = np.sqrt(np.mean(update["a"].astype(np.float64) ** 2))
    # 300,000 squares added in float32, in blocks: a few units of its last place, and only a ratio of 100 counts.
    assert check_update(encode_update(update, layout), layout)["a"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("codec", CODECS)
def test_decoded_tensors_do_not_alias_the_blob(codec: Codec) -> None:
    layout = Layout(PAIR, codec)
    data = encode_update(random_update(layout, 0), layout)
    before = bytes(bytearray(data))
    for values in decode_update(data, layout).values():
        values.fill(1)
    assert data == before


@pytest.mark.parametrize("codec", CODECS)
def test_checking_takes_less_than_ten_times_the_blob(codec: Codec) -> None:
    layout = Layout((TensorSpec("a", (500, 1000)),), codec)
    data = encode_update(random_update(layout, 0), layout)
    for decode in (check_update, decode_update):
        tracemalloc.start()
        decode(data, layout)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * len(data)


def test_what_receivers_would_refuse_is_not_encoded() -> None:
    layout = Layout((TensorSpec("a", (2,)),))
    for bad in (np.nan, np.inf, 3.4e38):  # The last is finite in float32 and rounds to infinity.
        with pytest.raises(ValueError, match="a holds numbers that are not finite in bf16"):
            encode_update({"a": np.array([0, bad], np.float32)}, layout)
    all_ones = np.array([0, 0xFFFFFFFF], np.uint32).view(np.float32)
    with pytest.raises(ValueError, match="not finite"):
        encode_update({"a": all_ones}, layout)
    with pytest.raises(ValueError, match=r"a must have shape \(2,\), got \(3,\)"):
        encode_update({"a": np.zeros(3, np.float32)}, layout)
    with pytest.raises(ValueError, match="a is missing"):
        encode_update({}, layout)


def test_an_impossible_layout_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="lengths of at least 1"):
        TensorSpec("a", (2, 0))
    with pytest.raises(ValueError, match="names of tensors must differ, 1 of them"):
        Layout((TensorSpec("a", (2,)), TensorSpec("a", (3,))))
    with pytest.raises(ValueError, match="codec must be bf16 or f32, got 'i8'"):
        Layout(PAIR, "i8")  # type: ignore[arg-type]


def test_a_layouts_fingerprint_is_of_type_names_and_shapes() -> None:
    parts = [b"bf16", b"m.lora_A", b"2,3", b"m.lora_B", b"4,2"]
    assert Layout(PAIR).fingerprint == fingerprint_of("gossipllm/layout/1", parts)
    others = (
        Layout(PAIR, "f32"),
        Layout(PAIR[::-1]),
        Layout(PAIR[:1]),
        Layout((TensorSpec("m.lora_A", (3, 2)), PAIR[1])),
        Layout((TensorSpec("n.lora_A", (2, 3)), PAIR[1])),
    )
    assert len({Layout(PAIR).fingerprint, *(one.fingerprint for one in others)}) == 6
