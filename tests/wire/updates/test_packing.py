"""Packed updates: receivers get the announced bytes, errors do not add up, and a wrong base shows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WireError
from wire.floats import F32
from wire.integers import MAX_NUMBERS
from wire.updates.packed_updates import pack_update, unpack_update
from wire.updates.packing import (
    FINENESS,
    Fineness,
    OnSteps,
    Packing,
    decode_packed,
    encode_packed,
    on_steps,
)
from wire.updates.tensors import Layout, TensorSpec, encode_update
from wire.updates.units import Schema, Unit, decode_offered, encode_offered

LAYOUT = Layout((TensorSpec("A", (8, 600)), TensorSpec("B", (700, 8))))
PACKINGS = [name for name, fineness in FINENESS.items() if fineness is not None]


def walk(rounds: int, seed: int = 0, *, move: float = 0.1) -> list[dict[str, F32]]:
    """Adapters of some rounds, each a little further."""
    rng = np.random.default_rng(seed)
    at = {spec.name: rng.normal(0, 0.05, spec.shape) for spec in LAYOUT.tensors}
    steps: list[dict[str, F32]] = []
    for _ in range(rounds):
        at = {name: value + rng.normal(0, 0.05 * move, value.shape) for name, value in at.items()}
        steps.append({name: value.astype(np.float32) for name, value in at.items()})
    return steps


def fineness_of(name: Packing) -> Fineness:
    fineness = FINENESS[name]
    assert fineness is not None
    return fineness


def error(sent: OnSteps, meant: dict[str, F32]) -> float:
    """Root mean square of what is off, in those of the tensors; the largest of all tensors."""
    return max(float(np.sqrt(np.mean((sent.tensors[n] - v) ** 2) / np.mean(v**2))) for n, v in meant.items())


@pytest.mark.parametrize("codec", ["bf16", "f32"])
@pytest.mark.parametrize("name", PACKINGS)
def test_key_frames_and_differences_give_the_very_bytes_of_the_update(name: Packing, codec: str) -> None:
    layout = replace(LAYOUT, codec=codec)
    before: OnSteps | None = None
    for meant in walk(6):
        sent = on_steps(meant, layout, fineness_of(name), before)
        update = encode_update(sent.tensors, layout)
        assert decode_packed(encode_packed(sent, layout), layout) == update
        if before is not None:
            moved = encode_packed(sent, layout, before.tensors)
            assert decode_packed(moved, layout, before.tensors) == update
            assert len(moved) < len(encode_packed(sent, layout)) < layout.size
        before = sent


@pytest.mark.parametrize(("name", "most"), [("fine", 0.025), ("normal", 0.05), ("tight", 0.1)])
def test_errors_of_dense_forms_do_not_grow_with_the_rounds(name: Packing, most: float) -> None:
    before: OnSteps | None = None
    for meant in walk(40):
        before = on_steps(meant, LAYOUT, fineness_of(name), before)
        assert error(before, meant) < most


def test_what_few_differences_leave_out_is_sent_when_the_adapter_rests() -> None:
    sparse, meant = fineness_of("sparse"), walk(2, move=1.0)
    before = on_steps(meant[0], LAYOUT, sparse)
    errors: list[float] = []
    for _ in range(60):
        before = on_steps(meant[1], LAYOUT, sparse, before)
        errors.append(error(before, meant[1]))
    assert errors[0] > 0.5
    assert errors[-1] < 0.2
    assert all(later <= sooner for sooner, later in pairwise(errors))


def test_few_differences_are_as_few_as_they_say() -> None:
    sparse, meant = Fineness(per_rms=4.0, share=0.03, most=2), walk(2, move=2.0)
    before = on_steps(meant[0], LAYOUT, sparse)
    after = on_steps(meant[1], LAYOUT, sparse, before)
    changed = sum(int((after.tensors[n] != before.tensors[n]).sum()) for n in meant[1])
    assert 0.025 * LAYOUT.count < changed <= 0.03 * LAYOUT.count + len(LAYOUT.tensors)


def test_an_adapter_that_rests_costs_next_to_nothing() -> None:
    (meant,) = walk(1)
    first = on_steps(meant, LAYOUT, fineness_of("normal"))
    again = on_steps(meant, LAYOUT, fineness_of("normal"), first)
    assert len(encode_packed(again, LAYOUT, first.tensors)) < 20


def test_a_step_changes_where_the_tensor_has_grown_and_not_before() -> None:
    (meant,) = walk(1)
    first = on_steps(meant, LAYOUT, fineness_of("normal"))
    for growth, changes in ((1.1, False), (4.0, True)):
        grown = {name: value * np.float32(growth) for name, value in meant.items()}
        now = on_steps(grown, LAYOUT, fineness_of("normal"), first)
        assert (now.exponents != first.exponents) == changes
        assert decode_packed(
            encode_packed(now, LAYOUT, first.tensors), LAYOUT, first.tensors
        ) == encode_update(now.tensors, LAYOUT)


def test_another_base_gives_another_update_and_not_an_error_unseen() -> None:
    one, two, three = walk(3)
    fine = fineness_of("normal")
    first = on_steps(one, LAYOUT, fine)
    second = on_steps(two, LAYOUT, fine, first)
    third = on_steps(three, LAYOUT, fine, second)
    moved = encode_packed(third, LAYOUT, second.tensors)
    assert decode_packed(moved, LAYOUT, first.tensors) != encode_update(third.tensors, LAYOUT)


def test_tensors_that_the_base_lacks_or_has_in_another_shape_begin_at_zero() -> None:
    first, second = walk(2)
    fine = fineness_of("normal")
    base = on_steps({"A": first["A"][:4]}, Layout((TensorSpec("A", (4, 600)),)), fine)
    sent = on_steps(second, LAYOUT, fine, base)
    moved = encode_packed(sent, LAYOUT, base.tensors)
    assert moved == encode_packed(sent, LAYOUT)
    assert decode_packed(moved, LAYOUT, base.tensors) == encode_update(sent.tensors, LAYOUT)


def test_zeros_tiny_and_huge_numbers_are_packed() -> None:
    meant = {name: value.copy() for name, value in walk(1)[0].items()}
    meant["A"][:] = 0
    meant["B"][0] = [1e-30, -1e-30, 1e3, -1e3, 0, -0.0, 3e-8, 1]
    sent = on_steps(meant, LAYOUT, fineness_of("fine"))
    assert decode_packed(encode_packed(sent, LAYOUT), LAYOUT) == encode_update(sent.tensors, LAYOUT)


def test_numbers_that_are_not_finite_are_not_packed() -> None:
    meant = walk(1)[0]
    meant["B"][3, 3] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        on_steps(meant, LAYOUT, fineness_of("normal"))


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_unpack_or_raise_a_wire_error(data: bytes, held: bool) -> None:
    layout = Layout((TensorSpec("a", (2, 3)), TensorSpec("b", (4,))))
    base = {"a": np.full((2, 3), 3e38, np.float32), "b": np.ones(4, np.float32)}
    try:
        body = decode_packed(data, layout, base if held else None)
    except WireError:
        return
    assert len(body) == layout.size


def test_a_result_beyond_the_range_of_the_numbers_is_refused() -> None:
    layout = Layout((TensorSpec("a", (1,)),))
    huge = OnSteps({"a": np.array([100 * 2.0**120], np.float32)}, {"a": 120})
    data = encode_packed(huge, layout)
    assert decode_packed(data, layout)
    with pytest.raises(WireError, match="finite"):
        decode_packed(data, layout, {"a": np.array([3.3e38], np.float32)})


def test_more_numbers_than_a_network_loop_may_decode_are_refused_unread() -> None:
    with pytest.raises(WireError, match="at most"):
        decode_packed(b"\x00", Layout((TensorSpec("a", (MAX_NUMBERS + 1,)),)))


def test_updates_of_some_units_are_packed_with_their_offer() -> None:
    schema = Schema(
        tuple(Unit(f"u{at}", at, ((f"u{at}.a", (0, 30)), (f"u{at}.b", (20, 0)))) for at in range(3))
    )
    offers = schema.offer((0, 2), 4), schema.offer((1, 2), 4)
    rng = np.random.default_rng(1)
    before, update = None, None
    for offer in offers:
        layout = schema.layout(offer)
        meant = {spec.name: rng.normal(0, 1, spec.shape).astype(np.float32) for spec in layout.tensors}
        before = on_steps(meant, layout, fineness_of("normal"), before)
        base, update = update, encode_offered(before.tensors, schema, offer)
        data = pack_update(before, schema, offer, base)
        assert unpack_update(data, schema, offer, base) == update
        assert decode_offered(update, schema)[0] == offer


@pytest.mark.parametrize(
    ("name", "value"),
    [("per_rms", 0.4), ("per_rms", 129.0), ("dead", 0.4), ("dead", 1.0), ("share", 0.0), ("most", 0)],
)
def test_a_fineness_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        replace(Fineness(per_rms=4.0), **{name: value})


def test_a_tensor_that_is_to_be_finer_has_so_many_times_as_many_steps() -> None:
    (meant,) = walk(1)
    same = on_steps(meant, LAYOUT, fineness_of("normal"))
    sent = on_steps(meant, LAYOUT, fineness_of("normal"), finer={"A": 4.0})
    assert sent.exponents == {"A": same.exponents["A"] - 2, "B": same.exponents["B"]}
    np.testing.assert_array_equal(sent.tensors["B"], same.tensors["B"])
