"""rsLoRA: local steps at alpha over the root of the rank, of adapters that are kept and sent at alpha over the rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.loading.models import load_base
from support.adapters import adapter_config
from support.progress import silent

Folder = Callable[[str], Path]
Config = Callable[..., LearnerConfig]
RANK, ALPHA = 4, 8.0
TRAINING = TrainingConfig(
    batch_windows=4, learning_rate=1e-2, warmup_steps=0, weight_decay=0.1, clip_norm=0.05
)


def stepped(folder: Path, alpha: float, state: Any = None, *, train: Any = "both", **job: Any) -> Any:
    base = load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1))
    fleet = Fleet(base, adapter_config(rank=RANK, alpha=alpha, train=train))
    windows_WT = np.random.default_rng(0).integers(1, 300, (12, 16)).astype(np.int32)
    order_SB = batches(len(windows_WT), TRAINING, round_number=0, steps=3)
    given = fleet.blueprint.start(0) if state is None else state
    part = {"tensors": fleet.blueprint.tensors_of(fleet.blueprint.own)} if train != "both" else {}
    (done,) = fleet.perform(
        [StepsJob(given, Moments(), windows_WT, order_SB, TRAINING, silent, **part, **job)]
    )
    return done, fleet


@pytest.mark.parametrize("train", ["both", "b", "heads"])
def test_steps_are_those_of_an_adapter_whose_alpha_is_larger_by_the_root_of_the_rank(
    model_folder: Folder, train: Any
) -> None:
    """alpha / sqrt(r) = (alpha sqrt(r)) / r, so plain LoRA with that alpha takes rsLoRA's steps: another way through
    the same code. What starts at zero is larger by sqrt(r) in the form that is sent."""
    root = math.sqrt(RANK)

    plain, fleet = stepped(model_folder("llama"), ALPHA * root, train=train)
    ours, _ = stepped(model_folder("llama"), ALPHA, train=train, stretch=root)

    mirrored = fleet.blueprint.anatomy.mirrored
    assert ours.loss == pytest.approx(plain.loss, rel=1e-6)
    for name, value in ours.state.items():
        module, _, factor = name.rpartition(".")
        grows = factor == ("lora_A" if module in mirrored else "lora_B")
        # Rounding of the rescaling, which three steps of Adam carry on.
        assert np.allclose(value, plain.state[name] * (root if grows else 1), atol=2e-5), name
    for name, value in ours.moments.first.items():
        assert np.allclose(value, plain.moments.first[name], atol=1e-6), name


def test_without_it_no_number_changes(model_folder: Folder) -> None:
    before, _ = stepped(model_folder("llama"), ALPHA)
    after, _ = stepped(model_folder("llama"), ALPHA, stretch=1.0)

    assert all(np.array_equal(value, after.state[name]) for name, value in before.state.items())


def test_peers_of_either_scaling_are_in_one_network_and_merge_by_the_exact_product(
    config: Config, pools: Any
) -> None:
    plain = config(adapter=AdapterConfig(rank=RANK, alpha=ALPHA), clip=0.0)
    rooted = replace(plain, adapter=replace(plain.adapter, scaling="rslora"))
    pool, one, first = pools.pool_of(plain)
    other = pools.new_learner(pool, rooted, 1)
    second = pools.opened(pool, other)
    pools.train(pool, one)
    theirs = pools.train(pool, other)

    pools.merge(pool, one, (0.0, 1.0), theirs)

    assert first.fingerprints == second.fingerprints
    for name in one.state:
        if name.endswith(".lora_A"):
            b = name.replace("lora_A", "lora_B")
            mine, its = (learner.state[b] @ learner.state[name] for learner in (one, other))
            # What travels has two bytes a number.
            assert np.abs(mine - its).max() < 0.01 * np.abs(its).max(), name


def test_rslora_learns_faster_at_a_large_rank(config: Config, pools: Any) -> None:
    """What it is for: at alpha / rank, large ranks take small steps."""
    losses: dict[str, float] = {}
    for scaling in ("standard", "rslora"):
        adapter = AdapterConfig(rank=32, alpha=8.0, scaling=scaling)
        pool, learner, _ = pools.pool_of(
            config(
                adapter=adapter, training=TrainingConfig(batch_windows=4, learning_rate=1e-3, warmup_steps=0)
            )
        )
        losses[scaling] = pools.train(pool, learner).trust_loss

    assert losses["rslora"] < losses["standard"]
