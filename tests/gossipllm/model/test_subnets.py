"""Tests of subnets, which compute some heads, against the whole model with its other heads masked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    GPTNeoConfig,
    GPTNeoForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from gossipllm.config import AdapterConfig, ModelConfig
from gossipllm.config.choices import Dtype
from gossipllm.model import attention
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.sites import Site
from gossipllm.model.blocks import blocks_of
from gossipllm.model.loading.models import load_base
from gossipllm.model.subnets import owned, subnet
from support.tensors import named_modules, norm, seed_torch
from trust.errors import UserMistake

Folder = Callable[[str], Path]
Groups = Mapping[int, frozenset[int]]
Tensors = Mapping[str, torch.Tensor]

HEADS = AdapterConfig(rank=4, alpha=8.0, train="heads")
TOKENS = (torch.arange(4 * 24).view(4, 24) * 7) % 300
"""Tokens of two windows for each of two adapters."""
SOME: Mapping[str, Groups] = {
    "llama": {0: frozenset({1}), 1: frozenset({0})},
    "qwen2": {1: frozenset({1})},
    "gpt2": {0: frozenset({3, 1}), 1: frozenset({0, 2, 3})},
}
"""Groups of heads by block, for each family. The blocks of the tiny llama and qwen2 have two groups of two heads, those
of gpt2 four groups of one head."""
OUT = ("o_proj", "c_proj", "out_proj")
"""Names of the output projection in the families."""


def loaded(folder: Path, dtype: Dtype = "float32") -> tuple[Any, Blueprint]:
    model = load_base(ModelConfig(name=str(folder), device="cpu", dtype=dtype, threads=1)).model
    return model, attach(model, HEADS).blueprint(HEADS)


def tiny(kind: type, config: type, **options: object) -> tuple[Any, Blueprint]:
    seed_torch(7)
    shape = {"vocab_size": 320, "hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
    model: Any = kind(config(**(shape | options))).eval().requires_grad_(False)
    return model, attach(model, HEADS).blueprint(HEADS)


def two_adapters(blueprint: Blueprint) -> dict[str, torch.Tensor]:
    """The tensors of two random adapters, in which no head is zero as it is at the start."""
    chance = torch.Generator().manual_seed(5)
    return {
        spec.name: 0.3 * torch.randn(2, *spec.shape, generator=chance) for spec in blueprint.layout.tensors
    }


@contextmanager
def mounted(model: Any, tensors: Tensors, blueprint: Blueprint) -> Generator[None]:
    sites = [module for module in model.modules() if isinstance(module, Site)]
    for site in sites:
        site.mount(tensors, scale=blueprint.scale)
    try:
        yield
    finally:
        for site in sites:
            site.unmount()


@contextmanager
def silenced(model: Any, groups: Groups, count: int) -> Generator[None]:
    """Mask all heads but those of `groups`, in the blocks that are named, and scale these up to stand for all."""
    hooks: list[Any] = []
    for block, some in groups.items():
        gain = torch.zeros(count)
        gain[list(some)] = count / len(some)

        def strike(_site: object, given: tuple[torch.Tensor], gain: torch.Tensor = gain) -> torch.Tensor:
            (heads,) = given
            return heads * gain.repeat_interleave(heads.shape[-1] // count).to(heads.dtype)

        hooks += [
            module.register_forward_pre_hook(strike)
            for name, module in named_modules(blocks_of(model)[block])
            if isinstance(module, Site) and name.endswith(OUT)
        ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def logits(model: Any, tensors: Tensors, blueprint: Blueprint) -> torch.Tensor:
    with mounted(model, tensors, blueprint), torch.no_grad():
        return model(input_ids=TOKENS, use_cache=False).logits.float()


def slopes(model: Any, tensors: Tensors, blueprint: Blueprint) -> dict[str, torch.Tensor]:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    with mounted(model, leaves, blueprint):
        out = model(input_ids=TOKENS, use_cache=False).logits.float()
        loss = torch.nn.functional.cross_entropy(out[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten())
        found = torch.autograd.grad(loss, list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def count_of(blueprint: Blueprint) -> int:
    """The number of groups of heads of each attention."""
    return len(blueprint.own) // blueprint.layers


def assert_like_silenced(model: Any, blueprint: Blueprint, groups: Groups) -> None:
    tensors = two_adapters(blueprint)
    whole = logits(model, tensors, blueprint)

    got = logits(subnet(model, groups), tensors, blueprint)

    with silenced(model, groups, count_of(blueprint)):
        torch.testing.assert_close(got, logits(model, tensors, blueprint), atol=1e-5, rtol=1e-5)
    assert (got - whole).abs().max() > 1e-2, "the others did say something"
    assert torch.equal(logits(model, tensors, blueprint), whole), "the model is what it was"


@pytest.mark.parametrize("family", SOME)
def test_a_subnet_of_all_heads_computes_what_the_base_computes(model_folder: Folder, family: str) -> None:
    model, blueprint = loaded(model_folder(family))
    tensors = two_adapters(blueprint)

    got = logits(subnet(model, owned(blueprint, blueprint.own)), tensors, blueprint)

    torch.testing.assert_close(got, logits(model, tensors, blueprint), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", SOME)
def test_some_heads_compute_what_they_compute_in_the_base_and_count_for_all(
    model_folder: Folder, family: str
) -> None:
    model, blueprint = loaded(model_folder(family))

    assert_like_silenced(model, blueprint, SOME[family])


@pytest.mark.parametrize(
    ("kind", "config", "options", "groups"),
    [
        (
            Phi3ForCausalLM,
            Phi3Config,
            {"num_hidden_layers": 2, "num_key_value_heads": 2, "intermediate_size": 48, "pad_token_id": 0},
            {0: frozenset({1})},
        ),
        (
            Qwen3ForCausalLM,
            Qwen3Config,
            {"num_hidden_layers": 2, "num_key_value_heads": 2, "intermediate_size": 48, "head_dim": 16},
            {1: frozenset({0})},
        ),
        (
            GPTNeoForCausalLM,
            GPTNeoConfig,
            {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
            {0: frozenset({1, 2}), 1: frozenset({0})},
        ),
    ],
)
def test_families_that_store_their_head_counts_differently_are_supported(
    kind: type, config: type, options: dict[str, Any], groups: Groups
) -> None:
    model, blueprint = tiny(kind, config, **options)

    assert_like_silenced(model, blueprint, groups)


@pytest.mark.parametrize("family", SOME)
def test_gradients_reach_the_computed_heads_and_no_others(model_folder: Folder, family: str) -> None:
    model, blueprint = loaded(model_folder(family))
    tensors = two_adapters(blueprint)
    units = [unit for unit in blueprint.own if unit % 2 == blueprint.schema.units[unit].layer]
    groups = owned(blueprint, units)

    got = slopes(subnet(model, groups), tensors, blueprint)

    with silenced(model, groups, count_of(blueprint)):
        want = slopes(model, tensors, blueprint)
    masks = blueprint.masks_of(units)
    assert masks is not None
    for name, mask in masks.items():
        torch.testing.assert_close(got[name], want[name], atol=1e-6, rtol=1e-4)
        assert torch.equal((got[name] != 0).any(dim=0), torch.tensor(mask) > 0), name


def test_mounted_tensors_may_change_between_passes(model_folder: Folder) -> None:
    """Local steps do this: tensors are mounted once, and the optimiser changes them in place."""
    model, blueprint = loaded(model_folder("llama"))
    part: Any = subnet(model, SOME["llama"])
    tensors = two_adapters(blueprint)
    doubled = {name: 2 * tensor for name, tensor in tensors.items()}
    want = logits(part, doubled, blueprint)

    with mounted(part, tensors, blueprint), torch.no_grad():
        part(input_ids=TOKENS, use_cache=False)
        for tensor in tensors.values():
            tensor.mul_(2)
        got = part(input_ids=TOKENS, use_cache=False).logits

    assert torch.equal(got, want)


@pytest.mark.parametrize("family", SOME)
def test_attention_costs_in_proportion_to_its_heads(model_folder: Folder, family: str) -> None:
    model, blueprint = loaded(model_folder(family))
    # Of the fused kernels on a processor nothing is counted.
    model.set_attn_implementation("eager")

    whole, part = attention_flops(model), attention_flops(subnet(model, SOME[family]))

    count = count_of(blueprint)
    shares = [len(SOME[family].get(block, range(count))) for block in range(2)]
    assert [flops * count for flops in part] == [
        flops * share for flops, share in zip(whole, shares, strict=True)
    ]


def attention_flops(model: Any) -> list[int]:
    """The floating-point operations of the attention of each block."""
    attentions = {
        name
        for name, module in model.named_modules()
        if any(isinstance(child, Site) for child in module.children())
    }
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=TOKENS, use_cache=False)
    counts = counter.get_flop_counts()
    return [sum(counts[f"{type(model).__name__}.{name}"].values()) for name in sorted(attentions)]


@pytest.mark.parametrize("family", SOME)
def test_a_subnet_uses_short_attention_in_bfloat16(
    model_folder: Folder, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, blueprint = loaded(model_folder(family), "bfloat16")
    tensors = {name: tensor.bfloat16() for name, tensor in two_adapters(blueprint).items()}
    widths: list[int] = []
    kernel = attention._Attention.forward

    def noted(ctx: Any, query: torch.Tensor, *rest: Any) -> Any:
        widths.append(query.shape[1])
        return kernel(ctx, query, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(attention._Attention, "forward", staticmethod(noted))
        got = slopes(subnet(model, SOME[family]), tensors, blueprint)

    count = count_of(blueprint)
    assert widths == [len(SOME[family].get(block, range(count))) * 4 // count for block in range(2)], "heads"
    with silenced(model, SOME[family], count):
        want = slopes(model, tensors, blueprint)
    for name in blueprint.anatomy.trained:
        # bfloat16 has 8 bits; sums over fewer heads round in other places.
        assert norm(got[name] - want[name]) < 0.03 * norm(want[name]), name


@pytest.mark.parametrize("family", SOME)
def test_a_subnet_shares_everything_but_its_slices_with_the_base(model_folder: Folder, family: str) -> None:
    model, blueprint = loaded(model_folder(family))
    part: Any = subnet(model, SOME[family])

    here = {id(tensor) for tensor in model.parameters()}
    own = {name: tensor for name, tensor in part.named_parameters() if id(tensor) not in here}

    whole = dict(model.named_parameters())
    count = count_of(blueprint)
    assert own
    for name, tensor in own.items():
        block = int(name.split(".h." if family == "gpt2" else ".layers.")[1].partition(".")[0])
        assert tensor.numel() * count == whole[name].numel() * len(SOME[family][block]), name
    assert part.get_input_embeddings() is model.get_input_embeddings()
    assert all(one.mlp is other.mlp for one, other in zip(blocks_of(part), blocks_of(model), strict=True))


def test_blocks_without_a_head_of_the_subnet_are_those_of_the_base(model_folder: Folder) -> None:
    model, _ = loaded(model_folder("llama"))

    part = subnet(model, {0: {1}, 1: set()})

    assert blocks_of(part)[1] is blocks_of(model)[1]
    assert blocks_of(part)[0] is not blocks_of(model)[0]


@pytest.mark.parametrize("groups", [{2: {0}}, {0: {2}}, {0: {-1}}])
def test_groups_that_the_model_does_not_have_are_refused(
    model_folder: Folder, groups: dict[int, set[int]]
) -> None:
    model, _ = loaded(model_folder("llama"))

    with pytest.raises(ValueError, match="groups must be some that the model has"):
        subnet(model, groups)


def test_heads_that_are_normed_together_cannot_be_computed_apart() -> None:
    model, _ = tiny(
        Olmo2ForCausalLM, Olmo2Config, num_hidden_layers=1, num_key_value_heads=4, intermediate_size=48
    )

    with pytest.raises(UserMistake, match=r'q_norm.weight belongs to all heads at once; use "mask"'):
        subnet(model, {0: {1}})


def test_owned_gives_the_heads_of_units(model_folder: Folder) -> None:
    _, blueprint = loaded(model_folder("gpt2"))
    units = [1, 3, 6]

    assert owned(blueprint, units) == {0: {1, 3}, 1: {2}}
    assert [blueprint.schema.units[unit].name[-3:] for unit in units] == ["[1]", "[3]", "[2]"]
