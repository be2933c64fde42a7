"""Local steps of a part of an adapter, on windows that do not all hold as much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pytest

from gossipllm.config import ModelConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import LossJob, SlopeJob, StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.loading.models import load_base
from support.adapters import AdapterOptions, adapter_config
from support.progress import silent

Folder = Callable[[str], Path]
LENGTH = 16
SGD = TrainingConfig(batch_windows=64, learning_rate=0.1, warmup_steps=0, optimiser="sgd")
ADAMW = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0, weight_decay=0.5)


def fleet_of(folder: Path, **adapter: Unpack[AdapterOptions]) -> Fleet:
    base = load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1))
    return Fleet(base, adapter_config(**adapter))


def text(windows: int, bearing: int = LENGTH, seed: int = 0) -> Any:
    """Windows whose first `bearing` tokens bear loss; the rest is padding."""
    windows_WT = np.random.default_rng(seed).integers(1, 320, (windows, LENGTH)).astype(np.int32)
    windows_WT[:, bearing:] = ~0
    return windows_WT


def begun(fleet: Fleet) -> dict[str, Any]:
    """An adapter with no factor at zero, so that both have gradients."""
    rng = np.random.default_rng(9)
    return {
        name: value + rng.normal(0, 0.05, value.shape).astype(np.float32)
        for name, value in fleet.blueprint.start(0).items()
    }


def stepped(fleet: Fleet, windows_WT: Any, config: TrainingConfig, steps: int = 1, **part: Any) -> Any:
    job = StepsJob(
        part.pop("state", None) or begun(fleet),
        part.pop("moments", Moments()),
        windows_WT,
        batches(len(windows_WT), config, round_number=0, steps=steps),
        config,
        silent,
        **part,
    )
    (done,) = fleet.perform([job])
    return done


def of_units(fleet: Fleet, units: tuple[int, ...]) -> dict[str, Any]:
    return {"tensors": fleet.blueprint.tensors_of(units), "masks": fleet.blueprint.masks_of(units)}


def furthest(states: list[Any], weights: list[float], want: Any) -> float:
    """The largest difference of a weighted mean of adapters from `want`."""
    return max(
        float(
            np.abs(
                sum(w * s[name].astype(np.float64) for w, s in zip(weights, states, strict=True)) - want[name]
            ).max()
        )
        for name in want
    )


def test_weighting_by_tokens_makes_one_round_of_descent_the_step_on_pooled_text(model_folder: Folder) -> None:
    fleet = fleet_of(model_folder("llama"))
    short, long = text(6, bearing=5, seed=1), text(6, bearing=LENGTH, seed=2)

    pooled = stepped(fleet, np.concatenate([short, long]), SGD)
    alone = [stepped(fleet, windows_WT, SGD) for windows_WT in (short, long)]

    tokens, samples = [one.tokens for one in alone], [one.samples for one in alone]
    assert tokens == [6 * 4, 6 * 15]
    assert pooled.tokens == sum(tokens)
    states = [one.state for one in alone]
    assert furthest(states, [count / sum(tokens) for count in tokens], pooled.state) < 1e-6
    assert furthest(states, [count / sum(samples) for count in samples], pooled.state) > 1e-4


def test_weighting_by_samples_does_so_where_the_loss_is_the_mean_of_sequences(model_folder: Folder) -> None:
    fleet, config = fleet_of(model_folder("llama")), replace(SGD, reduction="sequences")
    short, long = text(6, bearing=5, seed=1), text(6, bearing=LENGTH, seed=2)

    pooled = stepped(fleet, np.concatenate([short, long]), config)
    states = [stepped(fleet, windows_WT, config).state for windows_WT in (short, long)]

    assert furthest(states, [0.5, 0.5], pooled.state) < 1e-6


def test_padding_counts_for_nothing(model_folder: Folder) -> None:
    fleet = fleet_of(model_folder("gpt2"))
    padded = text(4, bearing=9)

    (full, cut) = (stepped(fleet, windows_WT, ADAMW, steps=3) for windows_WT in (padded, padded[:, :9]))
    (losses,), (plain,) = fleet.perform(
        [LossJob((full.state,), windows_WT, "test") for windows_WT in (padded, padded[:, :9])]
    )

    assert full.tokens == cut.tokens == 3 * 4 * 8
    assert full.loss == pytest.approx(cut.loss, rel=1e-5)
    np.testing.assert_allclose(losses, plain, atol=1e-5)
    for name, value in cut.state.items():
        np.testing.assert_allclose(full.state[name], value, atol=1e-5)


def test_of_a_window_the_steps_are_those_of_the_whole_and_all_else_stays(model_folder: Folder) -> None:
    fleet = fleet_of(model_folder("llama"))
    state, windows_WT = begun(fleet), text(8)
    units = fleet.blueprint.units_in(1, 1)

    part = stepped(fleet, windows_WT, SGD, state=state, **of_units(fleet, units))
    (slope,) = fleet.perform([SlopeJob(state, windows_WT)])

    trained = fleet.blueprint.tensors_of(units)
    assert 0 < len(trained) < len(state)
    for name, value in part.state.items():
        if name in trained:
            np.testing.assert_allclose(value, state[name] - 0.1 * slope.gradient[name], atol=1e-6)
        else:
            assert np.array_equal(value, state[name]), name


def test_moments_are_of_what_is_trained_and_begin_anew_with_other_units(model_folder: Folder) -> None:
    fleet = fleet_of(model_folder("llama"))
    first, second = (fleet.blueprint.units_in(layer, 1) for layer in (0, 1))
    windows_WT, config = text(8), replace(ADAMW, warmup_steps=100)

    done = stepped(fleet, windows_WT, config, 3, moments=Moments().of(b"\1"), **of_units(fleet, first))
    after = stepped(
        fleet,
        windows_WT,
        config,
        3,
        state=done.state,
        moments=done.moments.of(b"\2"),
        **of_units(fleet, second),
    )
    fresh = stepped(
        fleet, windows_WT, config, 3, state=done.state, moments=Moments(3, since=3), **of_units(fleet, second)
    )

    assert set(done.moments.first) == set(fleet.blueprint.tensors_of(first))
    assert set(after.moments.first) == set(fleet.blueprint.tensors_of(second))
    assert (after.moments.steps, after.moments.since) == (6, 3)
    assert done.moments.of(b"\1") is done.moments, "the same units go on"
    for name, value in fresh.state.items():
        assert np.array_equal(after.state[name], value)


def test_entries_of_others_heads_never_move(model_folder: Folder) -> None:
    for family in ("llama", "gpt2"):
        fleet = fleet_of(model_folder(family), train="heads")
        state, units = begun(fleet), fleet.blueprint.own[::2]
        masks = fleet.blueprint.masks_of(units)
        assert masks is not None

        done = stepped(fleet, text(8), ADAMW, 4, state=state, **of_units(fleet, units))

        for name, value in done.state.items():
            mine = masks[name] > 0 if name in masks else np.zeros(value.shape, bool)
            assert np.array_equal(value[~mine], state[name][~mine]), name
            assert (value[mine] != state[name][mine]).all(), name


def test_peers_that_train_other_windows_go_side_by_side(model_folder: Folder) -> None:
    fleet, windows_WT = fleet_of(model_folder("llama")), text(8)
    order = batches(8, ADAMW, round_number=0, steps=3)
    jobs = [
        StepsJob(
            begun(fleet), Moments(), windows_WT, order, ADAMW, silent,
            tensors=fleet.blueprint.tensors_of(fleet.blueprint.units_in(layer, 1)),
        )
        for layer in (0, 1, 0)
    ]  # fmt: skip

    together = fleet.perform(jobs)

    for job, done in zip(jobs, together, strict=True):
        (alone,) = fleet.perform([job])
        for name, value in alone.state.items():
            np.testing.assert_allclose(done.state[name], value, atol=1e-6)


@pytest.mark.parametrize("train", ["full", "bias"])
def test_what_no_rank_has_is_trained_too(model_folder: Folder, train: Any) -> None:
    fleet, windows_WT = fleet_of(model_folder("gpt2"), train=train), text(8)
    config = replace(ADAMW, weight_decay=0.0, learning_rate=1e-3)

    done = stepped(fleet, windows_WT, config, 6, state=fleet.blueprint.start(0))
    (before,), (after,) = fleet.perform(
        [LossJob((state,), windows_WT, "test") for state in (fleet.blueprint.start(0), done.state)]
    )

    assert after.mean() < before.mean()
