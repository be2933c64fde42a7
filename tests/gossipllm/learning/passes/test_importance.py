"""How much each layer matters, against the plain computation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from gossipllm.config import AdapterConfig, ModelConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import ProbeJob, SlopeJob, StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.loading.models import load_base
from support.progress import silent

Folder = Callable[[str], Path]
CONFIG = TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=0, optimiser="sgd")


def fleet_of(folder: Path, train: Any = "both") -> Fleet:
    base = load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1))
    return Fleet(base, AdapterConfig(rank=4, alpha=8.0, train=train))


def text(windows: int = 4) -> Any:
    return np.random.default_rng(3).integers(1, 320, (windows, 16)).astype(np.int32)


def begun(fleet: Fleet) -> dict[str, Any]:
    rng = np.random.default_rng(9)
    return {
        name: value + rng.normal(0, 0.05, value.shape).astype(np.float32)
        for name, value in fleet.blueprint.start(0).items()
    }


def plainly(fleet: Fleet, state: dict[str, Any], windows_WT: Any) -> list[float]:
    """Sums of (gradient * weight)^2 by layer, from the whole gradient."""
    (slope,) = fleet.perform([SlopeJob(state, windows_WT)])
    sums = [0.0] * fleet.blueprint.layers
    parameters = dict(fleet.base.model.named_parameters())
    for name, gradient in slope.gradient.items():
        weight = state[name]
        if not name.endswith((".lora_A", ".lora_B")):
            module, _, which = name.rpartition(".")
            weight = weight + parameters[f"{module}.frozen.{which}"].detach().numpy()
        if not weight.any():
            weight = np.ones_like(weight)
        if (layer := fleet.blueprint.layer_of(name)) >= 0:
            sums[layer] += float(((gradient * weight).astype(np.float64) ** 2).sum())
    return sums


@pytest.mark.parametrize(
    ("family", "train"),
    [("llama", "both"), ("gpt2", "b"), ("qwen2", "heads"), ("gpt2", "full"), ("gpt2", "bias")],
)
def test_a_probe_says_what_the_whole_gradient_says(model_folder: Folder, family: str, train: Any) -> None:
    fleet, windows_WT = fleet_of(model_folder(family), train), text()
    states = [begun(fleet), fleet.blueprint.start(0)]

    probed = fleet.perform([ProbeJob(state, windows_WT) for state in states])

    for state, row in zip(states, probed, strict=True):
        assert row == pytest.approx(plainly(fleet, state, windows_WT), rel=1e-4)
        assert min(row) > 0, "an untrained adapter has importances too"


def test_a_probe_holds_no_more_than_a_blocks_gradients(
    model_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(model_folder("llama"), "full")
    alive, most = 0, 0

    def counted(leaf: torch.Tensor, hook: Any) -> Any:
        def reduce(value: torch.Tensor) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            hook(value)
            alive -= value.grad is None

        return register(leaf, reduce)

    register = cast("Any", torch.Tensor).register_post_accumulate_grad_hook
    monkeypatch.setattr(torch.Tensor, "register_post_accumulate_grad_hook", counted)
    fleet.perform([ProbeJob(begun(fleet), text())])

    assert most == 1, "each gradient is reduced and let go before the next is there"


def test_local_steps_tell_of_the_layers_that_they_train(model_folder: Folder) -> None:
    fleet, windows_WT = fleet_of(model_folder("llama")), text()
    state = begun(fleet)
    job = StepsJob(
        state, Moments(), windows_WT, batches(4, CONFIG, round_number=0, steps=2), CONFIG, silent,
        tensors=fleet.blueprint.tensors_of(fleet.blueprint.units_in(1, 1)), measure=True,
    )  # fmt: skip

    (done,) = fleet.perform([job])
    (once,) = fleet.perform(
        [
            StepsJob(
                state,
                Moments(),
                windows_WT,
                job.batches_SB[:1],
                CONFIG,
                silent,
                tensors=job.tensors,
                measure=True,
            )
        ]
    )

    first, second = plainly(fleet, state, windows_WT)[1], plainly(fleet, dict(once.state), windows_WT)[1]
    assert once.importance == (None, pytest.approx(first, rel=1e-4))
    assert done.importance == (None, pytest.approx((first + second) / 2, rel=1e-4))
