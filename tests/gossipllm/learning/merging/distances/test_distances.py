"""How far adapters of unlike ranks and units are from each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import Evidence
from gossipllm.learning.merging.distances.distances import OwnEvidence, measured
from gossipllm.learning.merging.updates import Update
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from trust.rows.evidence import Distance
from wire.errors import WireError

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Offered = Callable[..., Update]

WINDOWS = np.zeros((2, 8), np.int32)


def mine(form: Blueprint, state: State) -> OwnEvidence:
    blob: Any = None
    return OwnEvidence(
        blueprint=form,
        state=state,
        start=state,
        blob=blob,
        trust_WT=WINDOWS,
        trust_losses_W=np.ones(2, np.float32),
        weights_W=None,
        start_loss=None,
        draw=(0,),
        draws=2,
        alone=lambda state: state,
    )


def distance(kind: Evidence, side: OwnEvidence, theirs: Update) -> float:
    """Of what needs no model."""
    task: Generator[Any, Any, Distance] = measured(kind, side, "ada", theirs, side.blob)
    with pytest.raises(StopIteration) as done:
        next(task)
    return done.value.value.mean


def effects(form: Blueprint, state: State) -> dict[str, np.ndarray]:
    """What each piece adds to the base."""
    found: dict[str, np.ndarray] = {}
    for cut in form.cuts(form.own):
        module, _, end = cut.tensor.rpartition(".")
        if end == "lora_B":
            found[cut.piece] = cut.of(state[cut.tensor]).astype(np.float64) @ state[module + ".lora_A"]
        elif end == "lora_A" and form.config.train == "heads":
            found[cut.piece] = state[module + ".lora_B"].astype(np.float64) @ cut.of(state[cut.tensor])
        elif end != "lora_A":
            found[cut.piece] = state[cut.tensor].astype(np.float64)
    return found


def cosine_distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    a, b = (
        np.concatenate([side[name].ravel() for name in sorted(one.keys() & other.keys())])
        for side in (one, other)
    )
    return 1 - float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("train", ["both", "b", "heads", "full", "bias", "all"])
def test_lengths_are_compared_by_what_adapters_add_in_times_ones_own(
    shape: Shape, draw: Draw, offered: Offered, train: str
) -> None:
    form = shape(train=train)
    one, other = draw(form, 1), draw(form, 2)
    ours, theirs = (effects(form, each) for each in (one, other))

    got = distance("distance", mine(form, one), offered(form, other))

    apart = math.sqrt(sum(float(np.sum((theirs[name] - ours[name]) ** 2)) for name in ours))
    assert got == pytest.approx(apart / math.sqrt(sum(float(np.sum(each**2)) for each in ours.values())))


@pytest.mark.parametrize("train", ["both", "b", "heads", "full", "bias", "all"])
def test_weights_are_compared_by_the_cosine_of_what_they_add(
    shape: Shape, draw: Draw, offered: Offered, train: str
) -> None:
    form = shape(train=train)
    one, other = draw(form, 0), draw(form, 1)

    got = distance("weights", mine(form, one), offered(form, other))

    assert got == pytest.approx(cosine_distance(effects(form, one), effects(form, other)), abs=1e-5)
    assert distance("weights", mine(form, one), offered(form, one)) < 1e-6


@pytest.mark.parametrize("train", ["both", "b", "heads"])
def test_unequal_ranks_are_compared_too(shape: Shape, draw: Draw, offered: Offered, train: str) -> None:
    form, other = shape(train=train, rank=2), shape(train=train, rank=16)
    one, theirs = draw(form, 0), draw(other, 1)

    got = distance("weights", mine(form, one), offered(other, theirs))

    assert got == pytest.approx(cosine_distance(effects(form, one), effects(other, theirs)), abs=1e-5)


def test_only_common_modules_are_compared(shape: Shape, draw: Draw, offered: Offered) -> None:
    form, other = shape(modules=("q_proj", "up_proj")), shape(modules=("q_proj", "v_proj"))
    one, theirs = draw(form, 0), draw(other, 1)

    got = distance("weights", mine(form, one), offered(other, theirs))

    assert got == pytest.approx(cosine_distance(effects(form, one), effects(other, theirs)), abs=1e-5)


def test_nothing_in_common_cannot_be_compared(shape: Shape, draw: Draw, offered: Offered) -> None:
    form, other = shape(modules=("q_proj",)), shape(modules=("v_proj",))

    with pytest.raises(WireError, match="nothing of what"):
        distance("weights", mine(form, draw(form, 0)), offered(other, draw(other, 1)))


@pytest.mark.parametrize("kind", ["parameters", "row-cosines"])
def test_the_published_forms_compare_whole_adapters_of_one_rank(
    shape: Shape, draw: Draw, offered: Offered, kind: Evidence
) -> None:
    form, other = shape(), shape(rank=2)
    side = mine(form, draw(form, 0))

    assert 0 < distance(kind, side, offered(form, draw(form, 1))) < 2
    for theirs in (offered(other, draw(other, 1)), offered(form, draw(form, 1), form.own[1:])):
        with pytest.raises(WireError, match="whole adapters of one rank"):
            distance(kind, side, theirs)


def test_losses_are_measured_of_what_they_offer_in_the_place_of_ones_own(
    shape: Shape, draw: Draw, offered: Offered
) -> None:
    form = shape()
    one, theirs = draw(form, 0), draw(form, 1)

    task = measured(
        "validation", mine(form, one), "ada", offered(form, theirs, form.own[:2]), mine(form, one).blob
    )
    job: Any = next(task)

    (asked,) = job.states
    changed = form.tensors_of(form.own[:2])
    for name, values in asked.items():
        assert np.array_equal(values, (theirs if name in changed else one)[name])
    with pytest.raises(StopIteration) as done:
        task.send([np.full(2, 3.0, np.float32)])
    assert done.value.value.mean == 2


def test_windows_count_in_means_of_losses_as_in_training(shape: Shape, draw: Draw, offered: Offered) -> None:
    form = shape()
    one, theirs = draw(form, 0), draw(form, 1)
    side = replace(mine(form, one), weights_W=np.array([1.0, 3.0]), start_loss=3.5)

    def told(kind: Evidence) -> Distance:
        task = measured(kind, side, "ada", offered(form, theirs), side.blob)
        next(task)
        with pytest.raises(StopIteration) as done:
            task.send([np.array([2.0, 4.0], np.float32)])
        return done.value.value

    assert told("validation").mean == pytest.approx((1 * 1 + 3 * 3) / 4)
    assert told("validation").error > 0
    assert told("progress").mean == pytest.approx(0), "(1 * 2 + 3 * 4) / 4 is where it started"
