"""Many adapters on one base are what each would be through peft by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from gossipllm.config import AdapterConfig, ModelConfig, TrainingConfig
from gossipllm.learning.jobs.batches import batches
from gossipllm.learning.jobs.jobs import LastLogitsJob, LossJob, PredictJob, SlopeJob, StepsJob
from gossipllm.learning.jobs.moments import Moments
from gossipllm.learning.passes import fleet as fleet_module
from gossipllm.learning.passes.fleet import Fleet
from gossipllm.model.loading.models import load_base
from support.progress import silent
from wire.predictions.logits import RowsShape

Folder = Callable[[str], Path]
ADAPTER = AdapterConfig(rank=4, alpha=8.0)
STEPS, PEERS, LENGTH = 6, 3, 24


def base_of(folder: Path, dtype: Any = "float32") -> Any:
    return load_base(ModelConfig(name=str(folder), device="cpu", dtype=dtype, threads=1))


def training(peer: int) -> TrainingConfig:
    """A peer with a rate, a warm-up and an order of its own."""
    return TrainingConfig(batch_windows=4, learning_rate=1e-2 / (peer + 1), warmup_steps=peer + 1, seed=peer)


def text(peer: int) -> Any:
    return np.random.default_rng(peer).integers(1, 320, (10 + peer, LENGTH)).astype(np.int32)


def steps_of(fleet: Fleet, peer: int, taken: int = 0) -> StepsJob:
    windows, config = text(peer), training(peer)
    order = batches(len(windows), config, round_number=0, steps=STEPS)
    return StepsJob(fleet.blueprint.start(peer), Moments(steps=taken), windows, order, config, silent)


def through_peft(folder: Path, fleet: Fleet, peer: int) -> tuple[dict[str, Any], list[float]]:
    """The same steps through peft and torch's AdamW: the adapter, and the loss of each step."""
    base = base_of(folder)
    conv = fleet.blueprint.fan_in_fan_out
    lora = LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", fan_in_fan_out=conv
    )
    model: Any = get_peft_model(base.model, lora)
    names = {name: f"base_model.model.{name}" for name in fleet.blueprint.start(peer)}
    parameters = dict(model.named_parameters())
    found = {
        name: next(v for k, v in parameters.items() if k.startswith(f"{full}."))
        for name, full in names.items()
    }
    with torch.no_grad():
        for name, value in fleet.blueprint.start(peer).items():
            found[name].copy_(torch.tensor(value))
    job, config = steps_of(fleet, peer), training(peer)
    optimiser = torch.optim.AdamW(found.values(), lr=1.0, betas=(0.9, 0.95), weight_decay=config.weight_decay)
    losses: list[float] = []
    for step, chosen in enumerate(job.batches_SB):
        tokens = torch.tensor(job.windows_WT[chosen], dtype=torch.int64)
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(found.values()), config.clip_norm)
        optimiser.param_groups[0]["lr"] = config.learning_rate * min(1, (step + 1) / config.warmup_steps)
        optimiser.step()  # pyright: ignore[reportUnknownMemberType] - typed in part
        optimiser.zero_grad()
        losses.append(loss.item())
    return {name: value.detach().numpy() for name, value in found.items()}, losses


@pytest.mark.filterwarnings("ignore:.*fan_in_fan_out")
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_peers_trained_together_are_those_that_peft_trains_one_by_one(
    model_folder: Folder, family: str
) -> None:
    folder = model_folder(family)
    fleet = Fleet(base_of(folder), ADAPTER)

    together = fleet.perform([steps_of(fleet, peer) for peer in range(PEERS)])

    for peer, done in enumerate(together):
        state, losses = through_peft(folder, fleet, peer)
        assert done.loss == pytest.approx(np.mean(losses), rel=1e-5)
        for name, want in state.items():
            assert np.linalg.norm(done.state[name] - want) <= 1e-5 * np.linalg.norm(want), name


def test_equal_seeds_give_equal_bits(model_folder: Folder) -> None:
    first, second = (
        Fleet(base_of(model_folder("llama")), ADAPTER).perform(
            [steps_of(fleet, peer) for peer in range(PEERS)]
        )
        for fleet in [Fleet(base_of(model_folder("llama")), ADAPTER)] * 2
    )

    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(one.state[name], value) for name, value in other.state.items())


def test_cutting_the_passes_changes_nothing_but_rounding(
    model_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(base_of(model_folder("llama")), ADAPTER)
    jobs = [steps_of(fleet, peer) for peer in range(PEERS)]
    whole = fleet.perform(jobs)
    monkeypatch.setattr(fleet_module, "PASS_BYTES", 1)

    cut = fleet.perform(jobs)

    for one, other in zip(whole, cut, strict=True):
        for name, value in other.state.items():
            np.testing.assert_allclose(one.state[name], value, atol=1e-6, rtol=1e-4)


def test_a_peer_that_joined_late_keeps_its_own_count_of_steps(model_folder: Folder) -> None:
    fleet = Fleet(base_of(model_folder("llama")), ADAPTER)

    mixed = fleet.perform([steps_of(fleet, 0), steps_of(fleet, 1, taken=50)])
    alone = fleet.perform([steps_of(fleet, 1, taken=50)])

    assert [done.moments.steps for done in mixed] == [STEPS, 50 + STEPS]
    for name, value in alone[0].state.items():
        np.testing.assert_allclose(mixed[1].state[name], value, atol=1e-6, rtol=1e-4)


def test_one_that_diverges_fails_alone(model_folder: Folder) -> None:
    fleet = Fleet(base_of(model_folder("llama")), ADAPTER)
    good, bad = steps_of(fleet, 0), steps_of(fleet, 1)
    broken = {name: np.full_like(value, np.nan) for name, value in bad.state.items()}

    done, failed = fleet.perform(
        [good, StepsJob(broken, bad.moments, bad.windows_WT, bad.batches_SB, bad.config, bad.on_step)]
    )

    assert np.isfinite(done.loss)
    assert "training.learning_rate" in str(failed)


def test_measures_of_many_adapters_are_those_of_each(model_folder: Folder) -> None:
    fleet = Fleet(base_of(model_folder("gpt2")), ADAPTER)
    states = [done.state for done in fleet.perform([steps_of(fleet, peer) for peer in range(PEERS)])]
    windows, shape = text(7)[:5], RowsShape(5 * (LENGTH - 1), 4, 320)
    raw = RowsShape(5, 4, 320, raw=True)

    kinds: list[Callable[[Any], Any]] = [
        lambda state: LossJob((state,), windows, "trust"),
        lambda state: PredictJob(state, windows, shape),
        lambda state: LastLogitsJob(state, windows, raw),
        lambda state: SlopeJob(state, windows),
    ]
    together = fleet.perform([kind(state) for state in states for kind in kinds])
    apart = [fleet.perform([kind(state)])[0] for state in states for kind in kinds]

    for (losses, rows, last, slope), (losses1, rows1, last1, slope1) in zip(
        _fours(together), _fours(apart), strict=True
    ):
        np.testing.assert_allclose(losses[0], losses1[0], atol=1e-5)
        assert np.array_equal(rows.ids_RK, rows1.ids_RK)
        np.testing.assert_allclose(rows.logp_RK, rows1.logp_RK, atol=1e-5)
        np.testing.assert_allclose(last.logits_RK, last1.logits_RK, atol=1e-5)
        assert slope.loss == pytest.approx(float(losses[0].mean()), abs=1e-5)
        for name, value in slope1.gradient.items():
            np.testing.assert_allclose(slope.gradient[name], value, atol=1e-6)


def test_predictions_are_distributions_and_pair_with_the_last_logits(model_folder: Folder) -> None:
    fleet = Fleet(base_of(model_folder("llama")), ADAPTER)
    state, windows = fleet.blueprint.start(0), text(7)[:3]
    shape = RowsShape(3 * (LENGTH - 1), 256, 320)

    (rows,) = fleet.perform([PredictJob(state, windows, shape)])

    np.testing.assert_allclose(np.exp(rows.logp_RK).sum(axis=1) + rows.tail_R, 1, atol=1e-5)
    assert (np.diff(rows.ids_RK.astype(np.int64), axis=1) > 0).all()


def test_the_meter_counts_every_token_that_passes(model_folder: Folder) -> None:
    fleet = Fleet(base_of(model_folder("llama")), ADAPTER)
    state = fleet.blueprint.start(0)

    fleet.perform(
        [steps_of(fleet, 0), LossJob((state, state), text(0)[:2], "test"), SlopeJob(state, text(0)[:3])]
    )

    assert fleet.meter.forward == {
        "train": STEPS * 4 * LENGTH,
        "test": 2 * 2 * LENGTH,
        "row": 3 * LENGTH,
    }
    assert fleet.meter.backward == {"train": STEPS * 4 * LENGTH, "row": 3 * LENGTH}


def test_a_bfloat16_base_trains_float32_adapters_nearly_the_same_way(model_folder: Folder) -> None:
    folder = model_folder("llama")
    exact, coarse = (Fleet(base_of(folder, dtype), ADAPTER) for dtype in ("float32", "bfloat16"))

    (want,) = exact.perform([steps_of(exact, 0)])
    (got,) = coarse.perform([steps_of(coarse, 0)])

    assert got.loss == pytest.approx(want.loss, rel=0.01)
    assert all(value.dtype == np.float32 for value in got.state.values())


def test_frozen_a_stays_and_b_learns(model_folder: Folder) -> None:
    fleet = Fleet(base_of(model_folder("llama")), AdapterConfig(rank=4, alpha=8.0, train="b"))
    start = fleet.blueprint.start(0)

    (done,) = fleet.perform([steps_of(fleet, 0)])

    for name, value in done.state.items():
        assert np.array_equal(value, start[name]) == name.endswith("lora_A")


def _fours(results: list[Any]) -> list[list[Any]]:
    return [results[i : i + 4] for i in range(0, len(results), 4)]
