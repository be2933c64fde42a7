"""What of an adapter travels, and what is refused of what came."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipllm.config.choices import Mixing, Train
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from wire.errors import WireError
from wire.updates.units import offer_of

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]

KINDS = get_args(Train)
MIXINGS: tuple[Mixing, ...] = get_args(Mixing)


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("mixing", MIXINGS)
@settings(max_examples=20)
@given(data=st.data())
def test_what_is_offered_arrives_and_nothing_else(
    shape: Shape, draw: Draw, train: str, mixing: Mixing, data: st.DataObject
) -> None:
    form = shape(train=train)
    state, start = draw(form, 0), draw(form, 1)
    units = sorted(data.draw(st.sets(st.sampled_from(form.own), min_size=1)))
    updates = UpdateFormat(form, mixing)

    got = updates.decoded(updates.encoded(state, start, units))

    assert got.units == tuple(units)
    assert got.offer == form.schema.offer(units, form.rank)
    for values, whole in ((got.state, state), (got.start, start)):
        if values is None:
            assert mixing != "updates"
            continue
        want = form.pieces(whole, units)
        assert values.keys() == want.keys()
        for name, piece in want.items():
            np.testing.assert_allclose(values[name], piece, rtol=2**-8, err_msg="bfloat16 on the wire")


@pytest.mark.parametrize("mixing", MIXINGS)
def test_its_size_is_what_the_schema_says_of_the_offer(shape: Shape, draw: Draw, mixing: Mixing) -> None:
    form = shape(train="heads")
    updates, state = UpdateFormat(form, mixing), draw(form, 0)

    data = updates.encoded(state, state, form.own[:1])

    assert len(data) == updates.schema.size(offer_of(data, updates.schema))


def test_peers_of_unlike_ranks_and_modules_read_each_other(shape: Shape, draw: Draw) -> None:
    phone = shape(rank=2, modules=("q_proj", "v_proj"))
    desk = shape(rank=16)
    assert UpdateFormat(phone, "parameters").fingerprint == UpdateFormat(desk, "parameters").fingerprint

    for sender, receiver in ((phone, desk), (desk, phone)):
        state = draw(sender, 0)
        got = UpdateFormat(receiver, "parameters").decoded(
            UpdateFormat(sender, "parameters").encoded(state, state, sender.own)
        )

        assert got.offer == sender.offer
        assert got.state.keys() == state.keys()


def test_another_way_of_mixing_is_another_network(shape: Shape) -> None:
    assert len({UpdateFormat(shape(), mixing).fingerprint for mixing in MIXINGS}) == len(MIXINGS)


def test_a_rank_above_the_most_is_refused_with_both_numbers(shape: Shape, draw: Draw) -> None:
    large = shape(rank=32, most_rank=32)
    state = draw(large, 0)
    data = UpdateFormat(large, "parameters").encoded(state, state, large.own)

    with pytest.raises(WireError, match=r"32, and adapter\.most_rank here is 16"):
        UpdateFormat(shape(), "parameters").decoded(data)


def test_numbers_that_are_not_finite_are_not_sent(shape: Shape, draw: Draw) -> None:
    form = shape()
    state = dict(draw(form, 0))
    name = next(iter(state))
    state[name] = np.full_like(state[name], np.inf)

    with pytest.raises(ValueError, match="not finite"):
        UpdateFormat(form, "parameters").encoded(state, state, form.own)


@pytest.mark.parametrize("train", KINDS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(shape: Shape, train: str, data: bytes) -> None:
    with suppress(WireError):
        UpdateFormat(shape(train=train), "parameters").decoded(data)


@given(at=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 3))
def test_a_damaged_update_is_read_or_refused(shape: Shape, draw: Draw, at: int, byte: int, cut: int) -> None:
    form = shape(train="heads")
    state = draw(form, 0)
    data = bytearray(UpdateFormat(form, "parameters").encoded(state, state, form.own[:2]))
    data[at % len(data)] = byte

    with suppress(WireError):
        UpdateFormat(form, "parameters").decoded(bytes(data[: len(data) - cut]))
