"""Tests of the trial pass: which modules adapters would reach, and which models are no causal language models."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from gossipllm.config import AdapterConfig
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.selection.reach import (
    BYPASSED,
    FEW_ROWS,
    NO_GRADIENT,
    UNUSED,
    reach_of,
)
from gossipllm.model.blocks import blocks_name
from support.tensors import seed_torch
from support.zoo.shrinking import tiny
from trust.errors import UserMistake


def model_of(family: str, **settings: Any) -> PreTrainedModel:
    config: Any = tiny(family)
    for name, value in settings.items():
        setattr(config, name, value)
    seed_torch(3)
    return cast("Any", AutoModelForCausalLM).from_config(config).eval().requires_grad_(False)


def linears(model: PreTrainedModel) -> list[str]:
    return [
        name for name, module in cast("Any", model).named_modules() if isinstance(module, torch.nn.Linear)
    ]


class Mlp(torch.nn.Module):
    """Takes the place of a Llama's MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(32, 32)
        self.other = torch.nn.Linear(32, 32)


class ReadsWeights(Mlp):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + torch.nn.functional.linear(x, self.other.weight)


class OnlyChooses(Mlp):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = self.other(x).argmax(dim=-1, keepdim=True)
        return self.layer(x) * (chosen > 0)


class SendsTokensApart(torch.nn.Module):
    """Every expert but the first gets some of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = torch.nn.ModuleList(torch.nn.Linear(32, 32) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(0, 1)
        y = self.experts[0](tokens)
        for expert in (1, 2):
            places = torch.arange(expert, len(tokens), 4)
            y = y.index_add(0, places, self.experts[expert](tokens[places]))
        return y.view(x.shape)


class Doubles(torch.nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  (as torch names it)
        return 2 * super().forward(input)


class Router(torch.nn.Module):
    """Weighs two halves by its weight and its scales, of which it takes the one that a choice names."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(32, 32))
        self.scales = torch.nn.Parameter(torch.ones(32))
        self.choice = torch.nn.Parameter(torch.zeros(32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = torch.nn.functional.linear(x, self.weight)
        return logits * self.scales * ((logits + self.choice) > 0)


class Routed(Mlp):
    def __init__(self) -> None:
        super().__init__()
        self.router = Router()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * self.router(x)


def with_mlp(kind: type[torch.nn.Module]) -> PreTrainedModel:
    model: Any = model_of("llama")
    for layer in model.model.layers:
        layer.mlp = kind()
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(("kind", "reason"), [(ReadsWeights, BYPASSED), (OnlyChooses, NO_GRADIENT)])
def test_a_layer_whose_adapter_would_do_nothing_is_left_out(kind: type[Mlp], reason: str) -> None:
    model = with_mlp(kind)

    left = reach_of(model, linears(model)).left

    assert left == {f"model.layers.{index}.mlp.other": reason for index in range(2)}


def test_a_vector_that_only_chooses_is_left_out_of_full_training_and_the_rest_of_its_module_is_not() -> None:
    attached = attach(with_mlp(Routed), AdapterConfig(train="full"))

    trained = {one.name for one in attached.anatomy.tensors if ".router." in one.name}
    assert {name.rpartition(".")[2] for name in trained} == {"weight", "scales"}
    assert "choice, under 1 % of the weights (without a gradient)" in "\n".join(attached.coverage.lines())


def test_experts_that_get_some_tokens_are_left_out_and_so_are_all_beside_them() -> None:
    model = with_mlp(SendsTokensApart)

    left = reach_of(model, linears(model)).left

    assert left == {
        f"model.layers.{index}.mlp.experts.{expert}": FEW_ROWS for index in range(2) for expert in range(3)
    }


def test_a_layer_that_is_more_than_a_product_gets_no_factors() -> None:
    model: Any = model_of("llama")
    model.model.layers[1].mlp.up_proj = Doubles(32, 48, bias=False)

    found = attach(model, AdapterConfig(rank=2, alpha=4.0))

    assert "model.layers.1.mlp.up_proj" not in found.sites
    assert "model.layers.0.mlp.up_proj" in found.sites
    assert "more than a product" in found.coverage.lines()[0]


def test_cross_attention_without_anything_to_attend_to_is_left_out() -> None:
    model = model_of("bart")

    left = reach_of(model, linears(model)).left

    assert left
    assert all("encoder_attn" in name and why == UNUSED for name, why in left.items())


@pytest.mark.parametrize("family", ["bert", "electra", "xlm"])
def test_a_model_that_reads_in_both_directions_is_refused(family: str) -> None:
    model = model_of(family)

    with pytest.raises(UserMistake, match="reads a text in both directions"):
        reach_of(model, linears(model))


def test_the_same_model_set_to_read_forwards_is_taken() -> None:
    model = model_of("bert", is_decoder=True)

    assert all("pooler" in name for name in reach_of(model, linears(model)).left)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "qwen3_next", "gemma3n_text", "bart"])
def test_a_model_without_numbers_is_tried_with_the_same_result(family: str) -> None:
    real = model_of(family)
    hollow = model_of(family)
    for name, value in list(hollow.named_parameters()):
        parent, _, leaf = name.rpartition(".")
        setattr(hollow.get_submodule(parent), leaf, torch.nn.Parameter(value.to("meta"), requires_grad=False))
    cast("Any", hollow).tie_weights()

    assert reach_of(hollow, linears(hollow)) == reach_of(real, linears(real))
    assert all(value.is_meta for value in hollow.parameters()), "the trial is made on a copy"


def test_blocks_are_the_decoders_where_a_vision_tower_has_as_many() -> None:
    config: Any = tiny("gemma3")
    config.vision_config.num_hidden_layers = config.text_config.num_hidden_layers
    model: Any = cast("Any", AutoModelForCausalLM).from_config(config)

    assert blocks_name(model) == "model.language_model.layers"
