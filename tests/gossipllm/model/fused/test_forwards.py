"""A training pass of fused functions against the model's own operations, and which parts of a model take part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from gossipllm.config import ModelConfig
from gossipllm.config.choices import Arithmetic
from gossipllm.learning.passes.engine import Engine, PassCounter, Slopes
from gossipllm.model.adapter.dropout import Dropout
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.sites import LoraSite
from gossipllm.model.fused.forwards import fused_forwards, open_head
from gossipllm.model.loading.models import load_base
from support.adapters import adapter_config
from support.tensors import seed_torch

Folder = Callable[[str], Path]
SHAPE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}


def windows(*, uneven: bool) -> Any:
    """Two adapters' batches of four windows, some of whose tokens bear no loss."""
    windows_PBT = np.random.default_rng(0).integers(1, 300, (2, 4, 16)).astype(np.int32)
    if uneven:
        windows_PBT[:, 1, 5:] = ~7
        windows_PBT[:, 2, 1:] = ~7
    return windows_PBT


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).square().sum() / want.square().sum()).sqrt().item()


def named(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    return dict(cast("Any", model).named_modules())


def slope(
    folder: Path, arithmetic: Arithmetic, *, uneven: bool = False, dropout: float = 0.0, at_once: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    base = load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1))
    config = adapter_config()
    engine = Engine(base, attach(base.model, config).blueprint(config), PassCounter())
    rng = np.random.default_rng(9)
    states = [
        {name: value + rng.normal(0, 0.05, value.shape).astype(np.float32) for name, value in start.items()}
        for start in (engine.blueprint.start(0), engine.blueprint.start(0))
    ]
    slopes = Slopes(engine, engine.whole, states, fused=arithmetic == "fused")
    dropouts = [Dropout(dropout, (0, index)) for index in range(2)] if dropout else []
    with slopes.mounted():
        return slopes.at(
            engine.whole.rows(states), windows(uneven=uneven), "train", dropouts, at_once=at_once
        )


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("uneven", [False, True])
def test_losses_and_gradients_of_every_adapter_are_those_of_the_plain_pass(
    model_folder: Folder, family: str, *, uneven: bool
) -> None:
    want_P, want_PN = slope(model_folder(family), "plain", uneven=uneven)

    loss_P, gradient_PN = slope(model_folder(family), "fused", uneven=uneven)

    torch.testing.assert_close(loss_P, want_P, atol=1e-6, rtol=1e-6)
    assert relative(gradient_PN, want_PN) < 1e-5


def test_dropout_drops_what_it_drops_in_the_plain_pass(model_folder: Folder) -> None:
    want_P, want_PN = slope(model_folder("llama"), "plain", dropout=0.3, at_once=3)

    loss_P, gradient_PN = slope(model_folder("llama"), "fused", dropout=0.3, at_once=3)

    torch.testing.assert_close(loss_P, want_P, atol=1e-6, rtol=1e-6)
    assert relative(gradient_PN, want_PN) < 1e-5


def test_a_pass_leaves_the_model_as_it_was(model_folder: Folder) -> None:
    base = load_base(ModelConfig(name=str(model_folder("llama")), device="cpu", dtype="float32", threads=1))
    attach(base.model, adapter_config())
    before = {name: set(vars(module)) for name, module in named(base.model).items()}

    with fused_forwards(base.model):
        inside = {name for name, module in named(base.model).items() if "forward" in vars(module)}

    sites = {name for name, module in named(base.model).items() if isinstance(module, LoraSite)}
    norms = {name for name, module in named(base.model).items() if isinstance(module, LlamaRMSNorm)}
    assert len(norms) == 5
    assert sites | norms <= inside
    assert {name: set(vars(module)) for name, module in named(base.model).items()} == before


def built(kind: str) -> PreTrainedModel:
    seed_torch(7)
    model: Any
    match kind:
        case "llama":
            model = LlamaForCausalLM(LlamaConfig(**SHAPE))
        case "gemma2":
            model = Gemma2ForCausalLM(Gemma2Config(**SHAPE, final_logit_softcapping=3.0))
        case "cohere":
            model = CohereForCausalLM(CohereConfig(**SHAPE))
        case _:
            heads: dict[str, Any] = {"decoder_attention_heads": 2, "decoder_ffn_dim": 24, "decoder_layers": 2}
            model = BartForCausalLM(BartConfig(vocab_size=40, d_model=16, is_decoder=True, **heads))
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "cohere", "bart"])
def test_the_head_is_taken_out_only_where_the_logits_are_its_product_alone(kind: str) -> None:
    """Gemma 2 caps its logits, and Cohere scales them."""
    model = built(kind)

    assert (open_head(model) is not None) == (kind in ("llama", "bart"))


def test_a_norm_that_adds_one_to_its_weight_stays_the_models_own() -> None:
    model = built("gemma2")
    attach(model, adapter_config())

    with fused_forwards(model):
        norms = [module for module in model.modules() if isinstance(module, Gemma2RMSNorm)]
        assert len(norms) == 9
        assert not any("forward" in vars(norm) for norm in norms)


class Weightless(torch.nn.Module):
    """As Falcon Mamba's: it holds a weight of ones that it does not use, and is given inputs of another width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width), requires_grad=False)
        self.eps = 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)


Weightless.__name__ = "WeightlessRMSNorm"


def test_a_norm_that_is_given_another_width_than_its_weight_stays_the_models_own() -> None:
    norm = Weightless(16)
    x = torch.randn(2, 3, 8, requires_grad=True)
    want = norm(x)

    with fused_forwards(norm):
        assert torch.equal(norm(x), want)
