"""Units, offers and the updates that begin with one."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.digest import fingerprint_of
from wire.errors import WireError
from wire.updates.tensors import Codec, encode_update
from wire.updates.units import (
    MAX_RANK,
    MAX_UNITS,
    RANK,
    Offer,
    Schema,
    Unit,
    check_offered,
    decode_offered,
    encode_offered,
    offer_of,
)

CODECS: tuple[Codec, ...] = ("bf16", "f32")


def lora(index: int, *, inputs: int = 3, outputs: int = 2) -> Unit:
    return Unit(f"m{index}", index, ((f"m{index}.A", (RANK, inputs)), (f"m{index}.B", (outputs, RANK))))


def network(units: int, codec: Codec = "bf16") -> Schema:
    return Schema(tuple(lora(index) for index in range(units)), codec)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    lengths = draw(st.lists(st.integers(1, 3), max_size=2))
    if draw(st.booleans()):
        lengths.insert(draw(st.integers(0, len(lengths))), RANK)
    return tuple(lengths)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    units = tuple(
        Unit(
            f"u{at}",
            draw(st.integers(-1, 4)),
            tuple((f"u{at}.{index}", draw(shapes())) for index in range(draw(st.integers(1, 3)))),
        )
        for at in range(draw(st.integers(1, 20)))
    )
    return Schema(units, draw(st.sampled_from(CODECS)))


@st.composite
def offers(draw: st.DrawFn) -> tuple[Schema, Offer]:
    schema = draw(schemas())
    indices = draw(st.sets(st.integers(0, len(schema.units) - 1), min_size=1))
    return schema, schema.offer(indices, draw(st.integers(1, 5)))


def random_tensors(schema: Schema, offer: Offer, seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors of bfloat16 numbers, which round-trip in both types."""
    rng = np.random.default_rng(seed)
    return {
        spec.name: rng.integers(-100, 100, spec.shape).astype(np.float32)
        for spec in schema.layout(offer).tensors
    }


def refused(data: bytes, schema: Schema) -> tuple[str, str]:
    """Field and reason of the refusal, the same for all functions that read an update."""
    with pytest.raises(WireError) as decoded:
        decode_offered(data, schema)
    with pytest.raises(WireError) as checked:
        check_offered(data, schema)
    assert str(decoded.value) == str(checked.value)
    return decoded.value.field, decoded.value.why


@given(offers(), st.integers(0, 2**32))
def test_an_offer_round_trips_with_its_tensors_and_no_others(drawn: tuple[Schema, Offer], seed: int) -> None:
    schema, offer = drawn
    sent = random_tensors(schema, offer, seed)
    data = encode_offered(sent, schema, offer)
    assert len(data) == schema.size(offer)
    received, tensors = decode_offered(data, schema)
    assert received == offer == offer_of(data, schema)
    assert list(tensors) == [
        name for index in schema.indices(offer) for name, _ in schema.units[index].tensors
    ]
    for name, values in tensors.items():
        assert values.dtype == np.float32
        assert not np.shares_memory(values, np.frombuffer(data, np.uint8))
        assert np.array_equal(values, sent[name])
    assert encode_offered(tensors, schema, received) == data
    norms = check_offered(data, schema)
    assert norms == pytest.approx({name: np.sqrt(np.mean(values**2)) for name, values in sent.items()})


@given(schemas(), st.binary(max_size=200))
def test_any_bytes_decode_or_raise_wire_error(schema: Schema, data: bytes) -> None:
    try:
        offer, tensors = decode_offered(data, schema)
    except WireError:
        refused(data, schema)
        return
    assert encode_offered(tensors, schema, offer) == data
    check_offered(data, schema)


@given(offers(), st.data())
def test_any_bytes_behind_an_offer_decode_or_name_a_tensor(
    drawn: tuple[Schema, Offer], draw: st.DataObject
) -> None:
    schema, offer = drawn
    head = struct.pack("<HH", offer.rank, len(offer.units)) + offer.units
    rest = schema.size(offer) - len(head)
    data = head + draw.draw(st.binary(min_size=rest, max_size=rest))
    try:
        tensors = decode_offered(data, schema)[1]
    except WireError:
        field, _ = refused(data, schema)
        assert field.removeprefix("update.") in {spec.name for spec in schema.layout(offer).tensors}
        return
    assert encode_offered(tensors, schema, offer) == data


@given(schemas(), st.integers(-1, MAX_RANK + 1), st.binary(max_size=4))
def test_a_set_of_units_has_one_bitmap_and_no_other_is_taken(
    schema: Schema, rank: int, bitmap: bytes
) -> None:
    offer = Offer(rank, bitmap)
    try:
        indices = schema.indices(offer)
    except WireError:
        for look in (schema.check, schema.size, schema.layout):
            with pytest.raises(WireError, match=r"^offer\.(rank|units): "):
                look(offer)
        return
    assert schema.offer(indices, rank) == offer
    assert schema.ranked == (rank > 0)


@given(offers())
def test_the_size_is_that_of_the_layout_and_the_head(drawn: tuple[Schema, Offer]) -> None:
    schema, offer = drawn
    assert schema.size(offer) == 4 + len(offer.units) + schema.layout(offer).size


def test_bits_count_from_the_lowest_of_the_first_byte() -> None:
    schema = network(10)
    assert schema.offer([0], 1).units == b"\x01\0"
    assert schema.offer([9, 1, 9], 1).units == b"\x02\x02"
    assert schema.indices(Offer(1, b"\x81\x01")) == (0, 7, 8)
    assert schema.offer(range(10), 1) == schema.offer([*range(10), 3], 1) == Offer(1, b"")
    assert schema.indices(Offer(1)) == tuple(range(10))
    assert network(1).offer([0], 1) == Offer(1, b"")


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        (Offer(0), "offer.rank: 0, and tensors of this network have a rank"),
        (Offer(257), r"offer.rank: 257 is not in 0\.\.256"),
        (Offer(-1), r"offer.rank: -1 is not in 0\.\.256"),
        (Offer(1, b"\1"), "offer.units: 1 bytes for 10 units"),
        (Offer(1, b"\1\0\0"), "offer.units: 3 bytes for 10 units"),
        (Offer(1, b"\0\0"), "offer.units: holds no unit"),
        (Offer(1, b"\xff\x03"), "offer.units: .* all of them"),
        (Offer(1, b"\xff\x07"), "offer.units: .* some that do not exist"),
        (Offer(1, b"\0\x04"), "offer.units: .* some that do not exist"),
    ],
)
def test_an_offer_that_does_not_fit_the_network_is_refused(offer: Offer, why: str) -> None:
    schema = network(10)
    for look in (schema.check, schema.size, schema.indices, schema.layout):
        with pytest.raises(WireError, match=why):
            look(offer)
    with pytest.raises(ValueError, match=why):
        encode_offered({}, schema, offer)


def test_a_network_without_ranks_refuses_a_rank() -> None:
    schema = Schema((Unit("norm", -1, (("norm.bias", (3,)),)),))
    assert not schema.ranked
    assert schema.offer([0], 8) == Offer(0)
    assert schema.size(Offer(0)) == 4 + 6
    with pytest.raises(WireError, match="1, and tensors of this network have none"):
        schema.check(Offer(1))


@pytest.mark.parametrize("codec", CODECS)
def test_an_update_is_its_offer_and_then_its_tensors(codec: Codec) -> None:
    schema = network(10, codec)
    offer = schema.offer([1, 8], 2)
    tensors = random_tensors(schema, offer)
    everything = tensors | random_tensors(schema, schema.offer([3], 2))
    data = encode_offered(everything, schema, offer)
    assert data == bytes.fromhex("0200 0200 0201") + encode_update(tensors, schema.layout(offer))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("units", [1, 3, 9, 17])
def test_tensors_behind_a_bitmap_of_any_length_are_read_alike(codec: Codec, units: int) -> None:
    # The bitmap's length is odd as often as even, and the tensors are where it ends.
    schema = network(units, codec)
    offer = schema.offer([units - 1], 3)
    sent = random_tensors(schema, offer)
    received = decode_offered(encode_offered(sent, schema, offer), schema)[1]
    assert all(np.array_equal(received[name], values) for name, values in sent.items())
    assert all(values.flags.aligned for values in received.values())


@pytest.mark.parametrize("by", [-1, 1, 2, 1_000])
def test_another_length_than_the_offers_is_refused(by: int) -> None:
    schema = network(10)
    offer = schema.offer([4], 1)
    data = encode_offered(random_tensors(schema, offer), schema, offer)
    assert len(data) == 16
    wrong = data[:by] if by < 0 else data + bytes(by)
    assert refused(wrong, schema) == ("update.length", f"{16 + by} bytes, what it offers has 16")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "update.length"),
        (b"\1\0\0", "update.length"),
        (b"\1\0\2\0\1", "update.length"),
        (b"\1\0\xff\xff" + bytes(100), "update.length"),
        (b"\1\0\xff\xff" + bytes(65_535), "offer.units"),
        (b"\0\0\0\0", "offer.rank"),
        (b"\xff\xff\0\0", "offer.rank"),
        (b"\1\0\1\0\1", "offer.units"),
        (b"\1\0\2\0\0\0", "offer.units"),
    ],
)
def test_an_invalid_head_is_refused_and_named(data: bytes, field: str) -> None:
    schema = network(10)
    assert refused(data, schema)[0] == field
    if field != "update.length":
        with pytest.raises(WireError):
            offer_of(data, schema)


def test_four_bytes_that_offer_all_units_build_no_layout() -> None:
    schema = network(MAX_UNITS)
    for data in (b"\2\0\0\0", b"\2\0\0\4" + b"\x55" * 1_024):
        tracemalloc.start()
        assert refused(data, schema)[0] == "update.length"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # The layout would take megabytes; this is the bitmap, a byte and a number for each unit.
        assert peak < 200_000


def test_a_single_value_that_is_not_finite_names_its_tensor() -> None:
    schema = network(3)
    offer = schema.offer([1], 1)
    data = encode_offered(random_tensors(schema, offer), schema, offer)
    assert refused(data[:-2] + b"\xc0\x7f", schema) == ("update.m1.B", "1 values are not finite")


def test_what_receivers_would_refuse_is_not_encoded() -> None:
    schema = network(10)
    for units in ([], [10], [-1], [0, 11]):
        with pytest.raises(ValueError, match=r"units must be some of 0\.\.9"):
            schema.offer(units, 1)
    for rank in (0, 257, -3):
        with pytest.raises(ValueError, match=rf"rank must be in 1\.\.256, got {rank}"):
            schema.offer([0], rank)
    offer = schema.offer([0], 2)
    with pytest.raises(ValueError, match=r"m0\.A is missing"):
        encode_offered({}, schema, offer)
    with pytest.raises(ValueError, match=r"m0\.A must have shape \(2, 3\), got \(1, 3\)"):
        encode_offered(random_tensors(schema, schema.offer([0], 1)), schema, offer)


@pytest.mark.parametrize(
    ("units", "why"),
    [
        ((), "must have 1 to 8192 units, got 0"),
        (tuple(lora(index) for index in range(MAX_UNITS + 1)), "must have 1 to 8192 units, got 8193"),
        ((lora(0), lora(0)), "names of units must differ, 1 of them"),
        ((lora(0), Unit("other", 1, (("m0.A", (2,)),))), "names of tensors must differ, 1 of them"),
        ((Unit("u", 0, ()),), "u must have a layer from -1 on and tensors"),
        ((Unit("u", -2, (("t", (1,)),)),), "u must have a layer from -1 on and tensors"),
        ((Unit("u", 0, (("t", (2, -1)),)),), "t must have lengths of at least 1 and at most one rank"),
        ((Unit("u", 0, (("t", (RANK, RANK)),)),), "t must have lengths of at least 1 and at most one rank"),
    ],
)
def test_an_impossible_schema_is_a_value_error(units: tuple[Unit, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Schema(units)


def test_the_codec_is_bf16_or_f32() -> None:
    with pytest.raises(ValueError, match="codec must be bf16 or f32, got 'i8'"):
        Schema((lora(0),), "i8")  # type: ignore[arg-type]


def test_a_schemas_fingerprint_is_of_type_units_names_and_shapes() -> None:
    parts = [b"bf16", b"m0", b"0", b"2", b"m0.A", b"0,3", b"m0.B", b"2,0"]
    assert Schema((lora(0),)).fingerprint == fingerprint_of("gossipllm/schema/1", parts)
    pair = (lora(0), lora(1))
    others: list[Callable[[], Schema]] = [
        lambda: Schema(pair),
        lambda: Schema(pair, "f32"),
        lambda: Schema(pair[::-1]),
        lambda: Schema(pair[:1]),
        lambda: Schema((pair[0], msgspec.structs.replace(pair[1], layer=0))),
        lambda: Schema((pair[0], msgspec.structs.replace(pair[1], name="n"))),
        lambda: Schema((lora(0, inputs=4), pair[1])),
        lambda: Schema((pair[0], Unit("m1", 1, pair[1].tensors[::-1]))),
    ]
    assert len({make().fingerprint for make in others}) == len(others)


def test_a_tensor_cannot_imitate_a_unit_in_a_fingerprint() -> None:
    one = Schema((Unit("a", 0, (("x", (2,)), ("b", (3,)), ("y", (4,)))),))
    two = Schema((Unit("a", 0, (("x", (2,)),)), Unit("b", 3, (("y", (4,)),))))
    assert one.fingerprint != two.fingerprint


@given(schemas(), st.integers(1, MAX_RANK), st.integers(1, MAX_RANK))
def test_peers_of_every_rank_have_one_fingerprint(schema: Schema, one: int, other: int) -> None:
    again = Schema(schema.units, schema.codec)
    everything = range(len(schema.units))
    before = schema.fingerprint
    schema.size(schema.offer(everything, one))
    again.size(again.offer(everything, other))
    assert schema.fingerprint == again.fingerprint == before


def test_units_and_offers_travel_as_arrays() -> None:
    for value in (Offer(2, b"\1"), lora(3)):
        data = msgspec.msgpack.encode(value)
        assert isinstance(msgspec.msgpack.decode(data), list)
        assert msgspec.msgpack.decode(data, type=type(value)) == value
