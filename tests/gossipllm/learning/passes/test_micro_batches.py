"""Gradient accumulation: a step whose batch goes through the model in parts is the step of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gossipllm.config import LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.engine import Engine, PassCounter, Slopes
from gossipllm.learning.passes.fleet import Fleet, kind_of
from gossipllm.model.adapter.placement import attach
from gossipllm.model.loading.models import load_base
from support.adapters import adapter_config
from support.progress import silent

Folder = Callable[[str], Path]
Config = Callable[..., LearnerConfig]
LENGTH = 16


def uneven() -> Any:
    """Two adapters' batches of five windows that bear loss at 15, 9, 3, 0 and 12 targets."""
    windows_PBT = np.random.default_rng(0).integers(1, 300, (2, 5, LENGTH)).astype(np.int32)
    for row, bearing in enumerate((16, 10, 4, 1, 13)):
        windows_PBT[:, row, bearing:] = ~7
    return windows_PBT


@pytest.fixture(scope="module")
def engine(model_folder: Folder) -> Engine:
    base = load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1))
    config = adapter_config()
    return Engine(base, attach(base.model, config).blueprint(config), PassCounter())


@pytest.mark.parametrize("reduction", ["tokens", "sequences"])
@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 9])
def test_loss_and_gradient_do_not_depend_on_how_many_windows_go_at_a_time(
    engine: Engine, reduction: Any, at_once: int
) -> None:
    """Also where windows bear loss at unlike numbers of tokens: a mean of means would weigh short parts too much."""
    rng = np.random.default_rng(9)
    states = [
        {name: value + rng.normal(0, 0.05, value.shape).astype(np.float32) for name, value in start.items()}
        for start in (engine.blueprint.start(0), engine.blueprint.start(0))
    ]
    slopes = Slopes(engine, engine.whole, states, reduction=reduction)
    theta_PN = engine.whole.rows(states)
    with slopes.mounted():
        loss_P, gradient_PN = slopes.at(theta_PN, uneven(), "train")
        parts_P, parts_PN = slopes.at(theta_PN, uneven(), "train", at_once=at_once)

    assert torch.allclose(parts_P, loss_P, atol=1e-6)
    assert torch.allclose(parts_PN, gradient_PN, atol=1e-6)


def test_steps_are_the_same_and_every_token_is_counted_once(model_folder: Folder) -> None:
    base = load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1))
    fleet, windows_WT = Fleet(base, adapter_config()), uneven()[0]
    whole = TrainingConfig(batch_windows=5, learning_rate=1e-2, warmup_steps=0)

    def job(config: TrainingConfig) -> StepsJob:
        order_SB = batches(len(windows_WT), config, round_number=0, steps=3)
        return StepsJob(fleet.blueprint.start(0), Moments(), windows_WT, order_SB, config, silent)

    jobs = [job(whole), job(replace(whole, micro_windows=2))]
    one, other = fleet.perform(jobs)

    assert kind_of(jobs[0]) != kind_of(jobs[1])
    assert one.tokens == other.tokens
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    # AdamW divides by roots of second moments, so that rounding shows where a gradient is next to nothing.
    assert all(np.allclose(value, other.state[name], atol=1e-4) for name, value in one.state.items())


def test_a_batch_by_tokens_is_as_many_whole_windows_as_hold_them(config: Config, pools: Any) -> None:
    made = config(training=TrainingConfig(batch_tokens=100, learning_rate=1e-2, warmup_steps=0))
    plain = config(training=TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0))

    snapshots = [pools.train(*pools.pool_of(one)[:2]).snapshot for one in (made, plain)]

    assert made.data.window_tokens == 24
    assert snapshots[0].data == snapshots[1].data


def test_a_batch_of_fewer_tokens_than_a_window_is_refused(config: Config) -> None:
    with pytest.raises(
        ValueError, match=r"batch_tokens must be 0 or at least data.window_tokens \(24\), got 20"
    ):
        config(training=TrainingConfig(batch_tokens=20))
