"""Updates rounded to steps: what receivers unpack, what they are told apart from, and what never is rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import Mixing, Train
from gossipllm.learning.merging.rounded import MOST_FINER, RoundedUpdate, UpdateRounder, finer
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from wire.digest import NO_DIGEST
from wire.updates.packed_updates import unpack_update
from wire.updates.packing import FINENESS, Packing

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]

KINDS: tuple[Train, ...] = get_args(Train)


def unpacked(updates: UpdateFormat, sent: RoundedUpdate, base: RoundedUpdate | None = None) -> list[bytes]:
    """The updates that receivers get of each packed form; `base` is what they hold."""
    offer = updates.decoded(sent.update.data).offer
    held = {NO_DIGEST: None} if base is None else {NO_DIGEST: None, base.update.digest: base.update.data}
    return [unpack_update(one.content.data, updates.schema, offer, held[one.base]) for one in sent.packed]


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("packing", [name for name in FINENESS if name != "whole"])
def test_every_packed_form_gives_the_update_whatever_is_trained(
    shape: Shape, draw: Draw, train: Train, packing: Packing
) -> None:
    form = shape(train=train)
    updates = UpdateFormat(form, "parameters")
    rounder = UpdateRounder(LearnerConfig(packing=packing))
    first = rounder.rounded(updates, draw(form, 0), draw(form, 0), form.own)
    second = rounder.rounded(updates, draw(form, 1), draw(form, 1), form.own, first.announced)

    assert unpacked(updates, first) == [first.update.data]
    assert {one.base for one in second.packed} <= {NO_DIGEST, first.update.digest}
    assert unpacked(updates, second, first) == [second.update.data] * len(second.packed)
    got = updates.decoded(second.update.data)
    for name, piece in form.pieces(second.state, form.own).items():
        np.testing.assert_array_equal(got.state[name], piece, err_msg="the author's is what receivers get")


def test_an_update_of_other_units_is_told_apart_from_what_both_hold(shape: Shape, draw: Draw) -> None:
    form = shape(train="both")
    updates = UpdateFormat(form, "parameters")
    rounder = UpdateRounder(LearnerConfig(packing="normal"))
    state = draw(form, 0)
    first = rounder.rounded(updates, state, state, form.own[:4])
    second = rounder.rounded(updates, state, state, form.own[2:6], first.announced)
    assert unpacked(updates, second, first) == [second.update.data] * len(second.packed)
    untouched = set(form.pieces(state, form.own)) - set(form.pieces(state, form.own[2:6]))
    kept = form.pieces(second.state, form.own)
    assert all(np.array_equal(kept[name], form.pieces(state, form.own)[name]) for name in untouched)


def test_what_was_announced_of_another_network_is_told_apart_from_nothing(shape: Shape, draw: Draw) -> None:
    """The last update comes from disk, and the peer may be of another model since."""
    form, other = shape(train="both"), shape(train="full")
    rounder = UpdateRounder(LearnerConfig(packing="normal"))
    state, its = draw(form, 0), draw(other, 0)
    theirs = rounder.rounded(UpdateFormat(other, "parameters"), its, its, other.own)

    sent = rounder.rounded(UpdateFormat(form, "parameters"), state, state, form.own, theirs.announced)

    assert {one.base for one in sent.packed} <= {NO_DIGEST}
    assert theirs.announced is not None


@pytest.mark.parametrize("mixing", get_args(Mixing))
def test_what_carries_two_adapters_or_mass_travels_whole(shape: Shape, draw: Draw, mixing: Mixing) -> None:
    form = shape(train="both")
    updates, state = UpdateFormat(form, mixing), draw(form, 0)
    sent = UpdateRounder(LearnerConfig(packing="normal", mixing=mixing)).rounded(
        updates, state, state, form.own
    )
    whole = sent.update.data == updates.encoded(state, state, form.own)
    assert whole == (not sent.packed) == (mixing in ("updates", "push-sum"))


def test_by_default_nothing_is_rounded(shape: Shape, draw: Draw) -> None:
    form = shape(train="both")
    updates, state = UpdateFormat(form, "parameters"), draw(form, 0)
    sent = UpdateRounder(LearnerConfig()).rounded(updates, state, state, form.own)
    assert sent.update.data == updates.encoded(state, state, form.own)
    assert sent.state is state
    assert not sent.packed


def test_the_factors_of_a_larger_product_have_as_many_times_more_steps() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 30)).astype(np.float32), rng.normal(size=(20, 4)).astype(np.float32)
    pieces = {"small.lora_A": a, "small.lora_B": b, "large.lora_A": 2 * a, "large.lora_B": 2 * b}
    assert finer(pieces) == pytest.approx(
        {"small.lora_A": 0.5, "small.lora_B": 0.5, "large.lora_A": 2.0, "large.lora_B": 2.0}
    )
    huge = {**pieces, "large.lora_B": 2000 * b}
    assert set(finer(huge).values()) == {1 / MOST_FINER, MOST_FINER}


def test_what_is_no_product_or_a_product_of_nothing_is_as_fine_as_before() -> None:
    a, b = np.ones((4, 30), np.float32), np.zeros((20, 4), np.float32)
    assert finer({"new.lora_A": a, "new.lora_B": b, "norm.weight": np.ones(7, np.float32)}) == {}
    broken = np.full((20, 4), np.nan, np.float32)
    assert finer({"new.lora_A": a, "new.lora_B": broken, "only.lora_B": broken}) == {}
