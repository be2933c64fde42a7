"""LoRA on all layers over a base that is held in 8 or 4 bits (`ModelConfig.held`), and checkpoints on all layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from gossipllm.config import AdapterConfig, LayersConfig, LearnerConfig
from gossipllm.learning.learner import Learner
from gossipllm.learning.shared_model import load_shared_model
from gossipllm.model.adapter.export import export_adapter
from gossipllm.model.adapter.merged_model import export_model
from gossipllm.model.blocks import blocks_of
from gossipllm.model.contexts.quantised import PackedLinear, packed_in
from support.progress import silent

Config = Callable[..., LearnerConfig]
TOKENS = torch.arange(20).reshape(2, 10)


def held(config: Config, how: Any, family: str = "llama", **sections: Any) -> LearnerConfig:
    plain = config(family, **sections)
    return replace(plain, model=replace(plain.model, held=how))


def logits_of(learner: Learner) -> torch.Tensor:
    engine: Any = cast("Any", learner.fleet)._engine
    with torch.no_grad(), engine.mounted(engine.live([learner.state])):
        return engine.logits(TOKENS)


@pytest.mark.parametrize(("how", "family"), [("int8", "llama"), ("int4", "llama"), ("int4", "gpt2")])
def test_all_layers_are_trained_on_packed_weights_and_the_export_computes_the_same(
    config: Config, pools: Any, tmp_path: Path, how: Any, family: str
) -> None:
    pool, learner, opened = pools.pool_of(held(config, how, family))
    done = pools.train(pool, learner)

    model: Any = pool.base.model
    assert len(packed_in(model)) == len(learner.shared.attached.sites), "all that is adapted is packed"
    assert all(value.any() for name, value in learner.state.items() if name.endswith(".lora_B"))
    assert done.trust_loss < opened.test_loss

    export_adapter(done.snapshot.data, tmp_path / "adapter")
    whole: Any = cast("Any", AutoModelForCausalLM).from_pretrained(learner.config.model.name)
    with torch.no_grad():
        for name, packed in model.named_modules():
            if isinstance(packed, PackedLinear):
                weight = whole.get_submodule(name.removesuffix(".frozen")).weight
                wide_OI = packed.whole(torch.float32)
                weight.copy_(wide_OI if weight.shape == wide_OI.shape and family != "gpt2" else wide_OI.T)
        loaded: Any = cast("Any", PeftModel).from_pretrained(whole, tmp_path / "adapter").eval()
        assert torch.allclose(loaded(TOKENS).logits, logits_of(learner), atol=2e-5)


def test_the_fingerprint_of_the_base_is_that_of_its_files(config: Config) -> None:
    whole, packed = (load_shared_model(one, silent) for one in (config(), held(config, "int4")))

    assert whole.base_name == packed.base_name


def test_the_whole_model_can_be_exported_with_what_was_learned(
    config: Config, pools: Any, tmp_path: Path
) -> None:
    pool, learner, _ = pools.pool_of(held(config, "int8"))
    done = pools.train(pool, learner)

    export_model(done.snapshot.data, tmp_path / "merged")

    merged: Any = cast("Any", AutoModelForCausalLM).from_pretrained(tmp_path / "merged")
    with torch.no_grad():
        apart = (merged(TOKENS).logits - logits_of(learner)).abs().max()
    # The merged model has whole weights: what is left is the error of eight bits.
    assert 0 < apart < 0.05


def test_blocks_windows_with_a_context_and_a_base_held_alike_exclude_each_other(config: Config) -> None:
    with pytest.raises(ValueError, match=r'model.held = "int4" holds all blocks so.*layers.context = "int8"'):
        held(config, "int4", layers=LayersConfig(count=1, context="int8"))


def test_windows_of_blocks_are_trained_on_packed_weights_too(config: Config, pools: Any) -> None:
    pool, learner, opened = pools.pool_of(held(config, "int4", layers=LayersConfig(count=1)))

    pools.train(pool, learner, units=pools.layer_units(opened, 1))

    assert all(packed_in(block) for block in blocks_of(pool.base.model))


@pytest.mark.parametrize("how", ["whole", "int8"])
def test_checkpoints_on_all_layers_change_no_step(config: Config, pools: Any, how: Any) -> None:
    states: list[Any] = []
    for checkpoint in (False, True):
        pool, learner, _ = pools.pool_of(held(config, how, layers=LayersConfig(checkpoint=checkpoint)))
        pools.train(pool, learner)
        states.append(learner.state)

    assert all(np.allclose(value, states[1][name], atol=1e-6) for name, value in states[0].items())


def test_all_linear_is_every_linear_layer_but_the_head(config: Config, pools: Any) -> None:
    pool, named, _ = pools.pool_of(config(adapter=AdapterConfig(rank=4, alpha=8.0, modules=("all-linear",))))
    plain = pools.new_learner(pool, config())

    assert set(named.state) == set(plain.state)
    assert named.fleet is plain.fleet
