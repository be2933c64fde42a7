"""Tests of sites: what several adapters compute in one pass."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import GemmaConfig, GemmaForCausalLM, PreTrainedModel

from gossipllm.config import AdapterConfig, ModelConfig
from gossipllm.model.adapter.placement import Attached, attach
from gossipllm.model.adapter.sites import EmbeddingSite, LoraSite, NormSite, Site, WholeSite
from gossipllm.model.loading.models import load_base
from support.tensors import seed_torch

Folder = Callable[[str], Path]

TOKENS = torch.arange(36).reshape(4, 9) % 30


def base(folder: Folder, family: str) -> PreTrainedModel:
    if family != "gemma":
        return load_base(
            ModelConfig(name=str(folder(family)), device="cpu", dtype="float32", threads=1)
        ).model
    seed_torch(7)
    model: Any = GemmaForCausalLM(
        GemmaConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
        )
    )
    return model.eval()


def drawn(found: Attached, config: AdapterConfig, adapters: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        spec.name: 0.1 * torch.randn(adapters, *spec.shape, generator=rng)
        for spec in found.blueprint(config).layout.tensors
    }


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS, use_cache=False).logits


def mount(model: torch.nn.Module, tensors: dict[str, torch.Tensor], scale: float = 1.0) -> None:
    for module in model.modules():
        if isinstance(module, Site):
            module.mount(tensors, scale=scale)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_each_adapter_adds_alpha_over_rank_b_a_to_its_own_rows(model_folder: Folder, family: str) -> None:
    config = AdapterConfig(rank=4, alpha=8.0)
    found = attach(base(model_folder, family), config)
    tensors = drawn(found, config, 2)
    name, site = next(iter(found.sites.items()))
    a, b = tensors[name + ".lora_A"], tensors[name + ".lora_B"]
    x = torch.randn(6, 5, a.shape[2], generator=torch.Generator().manual_seed(1))
    frozen = site(x)

    site.mount(tensors, scale=8.0 / 4)

    for mine, rows in ((0, slice(0, 3)), (1, slice(3, 6))):
        want = frozen[rows] + 8.0 / 4 * x[rows] @ a[mine].T @ b[mine].T
        torch.testing.assert_close(site(x)[rows], want, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "train"),
    [
        ("llama", "full"),
        ("gemma", "full"),
        ("gpt2", "full"),
        ("gpt2", "bias"),
        ("qwen2", "full"),
        ("qwen2", "bias"),
        ("llama", "all"),
        ("gemma", "all"),
        ("gpt2", "all"),
        ("qwen2", "all"),
    ],
)
def test_differences_compute_what_changed_weights_would(
    model_folder: Folder, family: str, train: Any
) -> None:
    config, model = AdapterConfig(train=train), base(model_folder, family)
    found = attach(model, config)
    tensors = drawn(found, config, 2)

    mount(model, tensors)
    got = logits(model)

    for mine, rows in ((0, slice(0, 2)), (1, slice(2, 4))):
        changed = base(model_folder, family)
        parameters = dict(changed.named_parameters())
        with torch.no_grad():
            for name, value in tensors.items():
                parameters[name].add_(value[mine])
        torch.testing.assert_close(got[rows], logits(changed)[rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("train", ["both", "heads", "full", "all"])
def test_nothing_mounted_is_the_plain_base_bit_for_bit(model_folder: Folder, train: Any) -> None:
    config, model = AdapterConfig(rank=4, train=train), base(model_folder, "gpt2")
    plain = logits(model)
    found = attach(model, config)

    attached = logits(model)
    mount(model, drawn(found, config, 2))
    mounted = logits(model)
    for site in found.sites.values():
        site.unmount()

    assert torch.equal(attached, plain)
    assert not torch.equal(mounted, plain)
    assert torch.equal(logits(model), plain)


def test_the_sites_of_a_copied_model_work_by_themselves(model_folder: Folder) -> None:
    config, model = AdapterConfig(train="full"), base(model_folder, "llama")
    found = attach(model, config)
    plain, copied = logits(model), deepcopy(model)

    mount(copied, drawn(found, config, 2))

    assert torch.equal(logits(model), plain)
    assert not torch.equal(logits(copied), plain)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma"])
def test_a_small_difference_of_a_norm_survives_bfloat16(model_folder: Folder, family: str) -> None:
    """1 + 2^-10 is 1 in bfloat16, so that a difference added to the weight would be gone."""
    model: Any = cast("Any", base(model_folder, family)).to(torch.bfloat16)
    attach(model, AdapterConfig(train="full"))
    site = next(module for module in model.modules() if isinstance(module, NormSite))
    width = site.weight.shape[0]
    x = torch.randn(1, 64, width, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    frozen = site(x)

    site.mount({site.name + ".weight": torch.full((1, width), 2.0**-10, dtype=torch.bfloat16)}, scale=1.0)

    moved = (site(x) - frozen).float()
    normed = x.float() / x.float().std(dim=-1, unbiased=False, keepdim=True)
    # Rounding to nearest moves a few entries by a whole step and most not at all: only their sum is what it should be.
    assert (moved * normed.sign()).mean().item() == pytest.approx(
        2.0**-10 * normed.abs().mean().item(), rel=0.3
    )


def test_a_site_has_every_attribute_of_the_layer_that_it_wraps() -> None:
    layer: Any = torch.nn.Linear(4, 3)
    layer.nx, layer._is_hf_initialized = 7, True

    site: Any = LoraSite("layer", layer)

    assert (site.nx, site.in_features, site.bias, site._is_hf_initialized) == (7, 4, layer.bias, True)
    assert deepcopy(site).nx == 7
    with pytest.raises(AttributeError, match="no_such"):
        _ = site.no_such


class Experts(torch.nn.Module):
    """Two experts in one tensor; each token goes to the one that is named."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = torch.nn.Parameter(torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(5)))

    def forward(
        self, x: torch.Tensor, chosen: torch.Tensor, *, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return scale * torch.einsum("ni,nio->no", x, self.stack[chosen]), chosen


def test_differences_of_stacked_experts_are_those_of_each_adapter_on_its_own_rows() -> None:
    experts, rng = Experts().requires_grad_(False), torch.Generator().manual_seed(6)
    x, chosen = torch.randn(6, 4, generator=rng), torch.tensor([0, 1, 1, 0, 0, 1])
    changes = torch.randn(2, 2, 4, 4, generator=rng)
    site = WholeSite("moe.experts", experts)
    plain, _ = site(x, chosen, scale=2.0)

    site.mount({"moe.experts.stack": changes}, scale=1.0)
    made, sent = site(x, chosen, scale=2.0)

    assert torch.equal(plain, experts(x, chosen, scale=2.0)[0])
    assert torch.equal(sent, chosen)
    for adapter, rows in ((0, slice(0, 3)), (1, slice(3, 6))):
        whole = experts.stack + changes[adapter]
        want = 2.0 * torch.einsum("ni,nio->no", x[rows], whole[chosen[rows]])
        torch.testing.assert_close(made[rows], want)


class NormedTable(torch.nn.Embedding):
    """As the embeddings of Inkling: the rows go through a norm of the table's own."""

    norm: torch.nn.RMSNorm

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  the name is torch's
        return self.norm(super().forward(input))


def test_differences_of_a_table_with_a_norm_are_taken_before_the_norm() -> None:
    seed_torch(3)
    table = NormedTable(30, 8)
    table.norm = torch.nn.RMSNorm(8)
    site = EmbeddingSite("embed", table)
    moved_PVO = 0.5 * torch.randn(2, 30, 8)

    site.mount({"embed.weight": moved_PVO}, scale=1.0)
    got = site(TOKENS)

    for rows, moved_VO in zip(range(0, 4, 2), moved_PVO, strict=True):
        changed = deepcopy(table)
        changed.weight.data += moved_VO
        torch.testing.assert_close(got[rows : rows + 2], changed(TOKENS[rows : rows + 2]))
    site.unmount()
    assert torch.equal(site(TOKENS), table(TOKENS))


def test_a_gradient_reaches_the_differences_and_what_lies_below(model_folder: Folder) -> None:
    config, model = AdapterConfig(train="full"), base(model_folder, "llama")
    found = attach(model, config)
    tensors = {name: value.requires_grad_() for name, value in drawn(found, config, 2).items()}

    mount(model, tensors)
    output: Any = model(input_ids=TOKENS, use_cache=False)
    output.logits.square().mean().backward()

    assert all(value.grad is not None and value.grad.any() for value in tensors.values())
