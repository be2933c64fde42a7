"""Dropout in local steps: repeatable by (seed, round, step), each adapter's own, and never in what is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, LayersConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import ContextModel, LossJob, ProbeJob, StepsDone, StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.learning.passes.memory.step_memory import step_bytes
from gossipllm.model.contexts.config import BlockWindow
from gossipllm.model.loading.models import load_base
from gossipllm.work import Trained
from support.progress import silent

Folder = Callable[[str], Path]
CONFIG = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0)


@pytest.fixture
def fleet(model_folder: Folder) -> Fleet:
    base = load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1))
    return Fleet(base, AdapterConfig(rank=4, alpha=8.0, dropout=0.3))


def job_of(fleet: Fleet, *, seed: int = 0, round_: int = 1, dropout: float = 0.3, **more: Any) -> StepsJob:
    windows_WT = np.random.default_rng(seed).integers(1, 320, (8, 16)).astype(np.int32)
    rng, config = np.random.default_rng(9), replace(CONFIG, seed=seed)
    state = {
        name: value + rng.normal(0, 0.05, value.shape).astype(np.float32)
        for name, value in fleet.blueprint.start(0).items()
    }
    # The batches of one round for all: what differs is what is dropped.
    order_SB = batches(len(windows_WT), CONFIG, round_number=0, steps=3)
    return StepsJob(
        state,
        Moments(),
        windows_WT,
        order_SB,
        config,
        silent,
        dropout=dropout,
        round=round_,
        **more,
    )


def distance(one: StepsDone, other: StepsDone) -> float:
    return max(float(np.abs(one.state[name] - other.state[name]).max()) for name in one.state)


def done(fleet: Fleet, *jobs: StepsJob) -> Sequence[StepsDone]:
    return fleet.perform(jobs)


def test_a_round_that_is_repeated_drops_the_same_and_another_round_does_not(fleet: Fleet) -> None:
    (first,), (again,) = done(fleet, job_of(fleet)), done(fleet, job_of(fleet))
    (other,) = done(fleet, job_of(fleet, round_=2))

    assert distance(first, again) == 0
    assert distance(first, other) > 1e-4


def test_every_step_of_a_round_drops_others(fleet: Fleet) -> None:
    """On one batch, with a rate that moves nothing, losses of steps differ by what is dropped only."""
    job = job_of(fleet)
    still = replace(CONFIG, learning_rate=1e-12, optimiser="sgd")
    same_SB = np.repeat(job.batches_SB[:1], 2, axis=0)

    (two,) = done(fleet, replace(job, config=still, batches_SB=same_SB))
    (one,) = done(fleet, replace(job, config=still, batches_SB=same_SB[:1]))
    (plain_two,) = done(fleet, replace(job, config=still, batches_SB=same_SB, dropout=0.0))
    (plain_one,) = done(fleet, replace(job, config=still, batches_SB=same_SB[:1], dropout=0.0))

    assert plain_two.loss == pytest.approx(plain_one.loss, abs=1e-6)
    assert abs(two.loss - one.loss) > 1e-5


def test_adapters_side_by_side_drop_what_each_drops_alone(fleet: Fleet) -> None:
    jobs = [job_of(fleet, seed=0), job_of(fleet, seed=1, dropout=0.5), job_of(fleet, seed=2, dropout=0.0)]

    together = done(fleet, *jobs)

    for job, one in zip(jobs, together, strict=True):
        (alone,) = done(fleet, job)
        # Alone, the adapter without dropout is trained by fused layers, which round otherwise.
        assert distance(one, alone) < 1e-5


def test_a_block_that_is_computed_again_for_the_backward_pass_drops_the_same(fleet: Fleet) -> None:
    again = ContextModel(fleet.base.model, checkpointed=BlockWindow(0, fleet.blueprint.layers))

    (plain,), (checkpointed,) = done(fleet, job_of(fleet)), done(fleet, job_of(fleet, context_model=again))

    assert distance(plain, checkpointed) < 1e-6


def test_a_rate_of_zero_changes_no_bit(fleet: Fleet) -> None:
    (zero,) = done(fleet, job_of(fleet, dropout=0.0))
    (other,) = done(fleet, job_of(fleet, dropout=0.0, round_=5))

    assert distance(zero, other) == 0


def test_what_is_measured_after_steps_knows_no_dropout(model_folder: Folder, fleet: Fleet) -> None:
    (trained,) = done(fleet, job_of(fleet))
    without = Fleet(
        load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1)),
        AdapterConfig(rank=4, alpha=8.0),
    )
    windows_WT = job_of(fleet).windows_WT

    for job in (LossJob((trained.state,), windows_WT, "test"), ProbeJob(trained.state, windows_WT[:2])):
        (here,), (there,) = fleet.perform([job]), without.perform([job])
        np.testing.assert_array_equal(np.asarray(here), np.asarray(there))


def test_a_learner_trains_with_the_configured_dropout(
    config: Callable[..., LearnerConfig], pools: Any
) -> None:
    losses: list[float] = []
    for dropout in (0.0, 0.5, 0.5):
        pool, learner, _ = pools.pool_of(config(adapter=AdapterConfig(rank=4, alpha=8.0, dropout=dropout)))
        trained: Trained = pools.train(pool, learner)
        losses.append(trained.train_loss)

    assert losses[0] != losses[1] == losses[2]


def test_the_estimate_of_memory_knows_what_dropout_keeps(
    config: Callable[..., LearnerConfig], fleet: Fleet
) -> None:
    plain = config(layers=LayersConfig(memory_mb=1000))
    without = fleet.blueprint.config
    blueprints = [replace(fleet.blueprint, config=replace(without, dropout=rate)) for rate in (0.0, 0.3)]

    least, most = (step_bytes(plain, fleet.base, blueprint, 1) for blueprint in blueprints)

    inputs = 5 * 32 + 32 + 48  # q, k, v, o, gate; up; down
    tokens = plain.training.batch_windows * plain.data.window_tokens
    assert most - least == inputs * (1 + 4) * 2 * tokens
