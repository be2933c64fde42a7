"""A warm start from a LoRA of another program: its products exactly, or the best of the rank, or one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, cast

import numpy as np
import peft
import pytest
import torch
from safetensors import numpy as tensor_files
from transformers import AutoModelForCausalLM

from gossipllm.config import AdapterConfig, LearnerConfig
from gossipllm.learning.shared_model import SharedModel, load_shared_model
from gossipllm.learning.training.warm_start import WarmStart, warm_start
from support.adapters import AdapterOptions, adapter_config
from support.progress import silent
from support.tensors import seed_torch
from trust.errors import UserMistake

Config = Callable[..., LearnerConfig]
files = cast("Any", tensor_files)
TOKENS = torch.arange(20).reshape(2, 10)


@pytest.fixture(scope="module")
def shared(config: Config) -> SharedModel:
    return load_shared_model(config(), silent)


def loaded(config: Config, family: str = "llama") -> Any:
    loader: Any = AutoModelForCausalLM
    return loader.from_pretrained(config(family).model.name, dtype=torch.float32)


def saved(
    config: Config, folder: Path, *, family: str = "llama", **settings: Any
) -> tuple[Path, torch.Tensor]:
    """A folder of an adapter that has learnt something, and the logits of the model with it."""
    seed_torch(3)
    library = cast("Any", peft)
    lora = library.LoraConfig(**({"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | settings))
    model = library.get_peft_model(loaded(config, family), lora)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    model.save_pretrained(folder)
    with torch.no_grad():
        return folder, model.eval()(TOKENS).logits


def started(
    config: Config, shared: SharedModel, folder: Path, **adapter: Unpack[AdapterOptions]
) -> tuple[WarmStart, torch.Tensor]:
    """The warm start, and the logits of this program with it."""
    blueprint = shared.blueprint(adapter_config(**adapter))
    warm = warm_start(folder, blueprint, model_name=config().model.name)
    fleet: Any = shared.fleet(blueprint.config)
    engine = fleet._engine
    with torch.no_grad(), engine.mounted(engine.live([warm.state])):
        return warm, engine.logits(TOKENS)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"r": 2},
        {"lora_alpha": 3},
        {"target_modules": ["q_proj", "down_proj"]},
        {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"layers.0.mlp.up_proj": 20}},
    ],
    ids=str,
)
def test_an_adapter_computes_the_same_after_a_warm_start(
    config: Config, shared: SharedModel, tmp_path: Path, settings: dict[str, Any]
) -> None:
    folder, wanted = saved(config, tmp_path, **settings)

    warm, logits = started(config, shared, folder)

    # Products in float64, kept as float32 factors.
    assert torch.allclose(logits, wanted, atol=1e-5)
    assert warm.error < 1e-6


def test_a_gpt2_whose_weights_stand_the_other_way_round_starts_warm_too(
    config: Config, tmp_path: Path
) -> None:
    folder, wanted = saved(config, tmp_path, family="gpt2")

    _, logits = started(config, load_shared_model(config("gpt2"), silent), folder)

    assert torch.allclose(logits, wanted, atol=1e-5)


def test_a_larger_rank_is_cut_to_the_best_of_ours_and_the_error_is_told(
    config: Config, shared: SharedModel, tmp_path: Path
) -> None:
    folder, _ = saved(config, tmp_path, r=6)
    tensors = files.load_file(folder / "adapter_model.safetensors")
    lacking = whole = 0.0
    for name in tensors:
        if ".lora_A." in name:
            product = tensors[name.replace("lora_A", "lora_B")].astype(np.float64) @ tensors[name]
            sigma = np.linalg.svd(product, compute_uv=False)
            lacking, whole = lacking + (sigma[4:] ** 2).sum(), whole + (sigma**2).sum()

    warm, _ = started(config, shared, folder)

    assert warm.error == pytest.approx((lacking / whole) ** 0.5, rel=1e-4)
    assert f"cut to rank 4, which leaves out {100 * warm.error:.2g} %" in warm.line(4)


def test_directions_beyond_the_adapters_rank_can_learn(
    config: Config, shared: SharedModel, tmp_path: Path
) -> None:
    """With both factors at zero there they would have no gradient."""
    folder, _ = saved(config, tmp_path, r=1)

    warm, _ = started(config, shared, folder)

    for name, value in warm.state.items():
        if name.endswith(".lora_A"):
            assert np.linalg.svd(value, compute_uv=False)[-1] > 1e-2, name


def test_a_learner_begins_at_the_adapter_and_only_before_its_first_round(
    config: Config, tmp_path: Path, pools: Any
) -> None:
    folder, _ = saved(config, tmp_path)
    made = config(adapter=AdapterConfig(rank=4, alpha=8.0, warm_start=str(folder)))

    pool, learner, opened = pools.pool_of(made)
    plain, _, without = pools.pool_of(config())

    assert opened.test_loss != without.test_loss
    done = pools.train(pool, learner)
    (folder / "adapter_model.safetensors").unlink()
    again = pools.opened(pool, learner, done.snapshot)
    assert again.round == done.round
    assert plain is not pool


def changed(folder: Path, **entries: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def test_what_is_more_than_products_is_refused_by_one_line(
    config: Config, shared: SharedModel, tmp_path: Path
) -> None:
    folder, _ = saved(config, tmp_path, use_dora=True)

    with pytest.raises(UserMistake, match=r"adapter.warm_start: .* has use_dora set"):
        started(config, shared, folder)


def test_an_adapter_of_another_base_is_refused_by_its_name_or_its_sizes(
    config: Config, shared: SharedModel, tmp_path: Path
) -> None:
    folder, _ = saved(config, tmp_path)
    blueprint = shared.blueprint(AdapterConfig(rank=4, alpha=8.0))
    changed(folder, base_model_name_or_path="one/model")
    with pytest.raises(UserMistake, match=r"is an adapter of one/model, and model\.name is other/model"):
        warm_start(folder, blueprint, model_name="other/model")

    tensors = files.load_file(folder / "adapter_model.safetensors")
    name = next(name for name in tensors if ".lora_A." in name)
    files.save_file(tensors | {name: np.ones((4, 31), np.float32)}, folder / "adapter_model.safetensors")
    with pytest.raises(UserMistake, match=r"from 31 to .* and this model has .*: it is of another base"):
        warm_start(folder, blueprint, model_name="one/model")


@pytest.mark.parametrize("adapter", [{"modules": ("q_proj",)}])
def test_modules_that_this_peer_does_not_adapt_are_refused(
    config: Config, shared: SharedModel, tmp_path: Path, adapter: Any
) -> None:
    folder, _ = saved(config, tmp_path)

    with pytest.raises(UserMistake, match=r"adapts model\.layers\.0.*, which this peer does not"):
        started(config, shared, folder, **adapter)


def test_a_folder_that_holds_no_adapter_is_named(config: Config, shared: SharedModel, tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"holds no adapter_config\.json"):
        started(config, shared, tmp_path)


def test_a_neighbour_with_another_start_merges_by_the_exact_product(
    config: Config, tmp_path: Path, pools: Any
) -> None:
    folder, _ = saved(config, tmp_path)
    made = config(adapter=AdapterConfig(rank=4, alpha=8.0, warm_start=str(folder)), clip=0.0)
    pool, learner, _ = pools.pool_of(made)
    other = pools.new_learner(pool, replace(made, adapter=AdapterConfig(rank=4, alpha=8.0)), 1)
    pools.opened(pool, other)
    pools.train(pool, learner)
    theirs = pools.train(pool, other)

    merged = pools.merge(pool, learner, (0.0, 1.0), theirs)

    # A row that takes the neighbour alone gives its product, rounded to the type that travels.
    name = next(name for name in learner.state if name.endswith(".lora_A"))
    module = name.removesuffix(".lora_A")
    mine, its = (one.state[module + ".lora_B"] @ one.state[name] for one in (learner, other))
    assert np.abs(mine - its).max() < 0.01 * np.abs(its).max()
    assert merged.discarded < 0.01
