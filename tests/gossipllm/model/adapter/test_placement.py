"""Tests of placement: the modules that get adapters, the names of their tensors, and the common start of all peers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pytest
from transformers import OPTConfig, OPTForCausalLM, PhiConfig, PhiForCausalLM, PreTrainedModel

from gossipllm.config import AdapterConfig, ModelConfig
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.initial import initial_state
from gossipllm.model.adapter.names import modules_of
from gossipllm.model.adapter.placement import Attached, attach
from gossipllm.model.adapter.sites import Site
from gossipllm.model.blocks import blocks_name, final_norm_of, own_head_of
from gossipllm.model.loading.models import load_base
from support.adapters import AdapterOptions, adapter_config
from trust.errors import UserMistake
from wire.updates.tensors import Layout, TensorSpec

Folder = Callable[[str], Path]

LAYOUT = Layout((TensorSpec("h.0.attn.lora_A", (4, 32)), TensorSpec("h.0.attn.lora_B", (96, 4))))

SMALL: Any = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}


def attached(folder: Path, **options: Unpack[AdapterOptions]) -> tuple[PreTrainedModel, Attached, Blueprint]:
    base = load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1))
    config = adapter_config(**options)
    found = attach(base.model, config)
    return base.model, found, found.blueprint(config)


def blueprint(folder: Path, **options: Unpack[AdapterOptions]) -> Blueprint:
    return attached(folder, **options)[2]


def count_of(model: PreTrainedModel, wanted: Callable[[str], bool]) -> int:
    """The number of values in the parameters that `wanted` selects by name, without the names of sites."""
    parameters: Any = model.named_parameters()
    return sum(value.numel() for name, value in parameters if wanted(name.replace(".frozen.", ".")))


def test_every_process_draws_the_same_initial_a() -> None:
    script = (
        "from gossipllm.model.adapter.initial import initial_state;"
        "from wire.updates.tensors import Layout, TensorSpec;"
        "state = initial_state(Layout((TensorSpec('m.lora_A', (4, 32)),)), 'seed');"
        "print(state['m.lora_A'].tobytes().hex())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(printed) == 1


def test_the_initial_a_never_changes() -> None:
    """Peers of different versions must agree, so these numbers are part of the protocol."""
    first = initial_state(LAYOUT, "gossipllm")["h.0.attn.lora_A"][0, :3]

    assert first.tolist() == [0.006384908687323332, 0.15132005512714386, 0.08284742385149002]


def test_the_initial_a_is_uniform_within_its_bound_and_b_is_zero() -> None:
    layout = Layout((TensorSpec("m.lora_A", (64, 256)), TensorSpec("m.lora_B", (8, 64))))
    state = initial_state(layout, "seed")

    a = state["m.lora_A"] * 16
    assert np.abs(a).max() < 1
    assert abs(a.mean()) < 0.02, "16,384 draws have a standard error of 0.0045"
    assert abs(a.var() - 1 / 3) < 0.01
    assert not state["m.lora_B"].any()


def test_modules_and_seeds_draw_apart() -> None:
    twins = Layout((TensorSpec("x.lora_A", (4, 32)), TensorSpec("y.lora_A", (4, 32))))
    state = initial_state(twins, "seed")

    assert not np.array_equal(state["x.lora_A"], state["y.lora_A"])
    assert not np.array_equal(state["x.lora_A"], initial_state(twins, "other")["x.lora_A"])


@pytest.mark.parametrize(
    ("family", "modules"),
    [("llama", 2 * 7), ("gpt2", 2 * 4), ("qwen2", 2 * 7)],
)
def test_all_linear_layers_but_the_head_are_adapted(model_folder: Folder, family: str, modules: int) -> None:
    names = modules_of(blueprint(model_folder(family)).layout)

    assert len(names) == modules
    assert names == tuple(sorted(names))
    assert not any("lm_head" in name or "base_model" in name or "default" in name for name in names)


def test_shapes_are_of_inputs_and_outputs_whatever_the_family_stores(model_folder: Folder) -> None:
    shapes = {spec.name: spec.shape for spec in blueprint(model_folder("gpt2")).layout.tensors}

    assert shapes["transformer.h.0.attn.c_attn.lora_A"] == (4, 32)
    assert shapes["transformer.h.0.attn.c_attn.lora_B"] == (96, 4)


def test_of_two_ranks_the_smaller_starts_as_the_beginning_of_the_larger() -> None:
    """What peers of unequal ranks have in common, besides the base."""
    small, large = (
        initial_state(
            Layout(
                (
                    TensorSpec("m.lora_A", (rank, 32)),
                    TensorSpec("o.lora_A", (rank, 8)),
                    TensorSpec("o.lora_B", (24, rank)),
                )
            ),
            "seed",
            mirrored=["o"],
        )
        for rank in (2, 16)
    )

    assert np.array_equal(small["m.lora_A"], large["m.lora_A"][:2])
    assert np.array_equal(small["o.lora_B"], large["o.lora_B"][:, :2])
    assert small["o.lora_B"].any()
    assert not large["o.lora_A"].any()


def test_a_start_of_ones_own_is_wide_and_nobody_elses(model_folder: Folder) -> None:
    form = blueprint(model_folder("llama"), start="own")
    one, other = form.start(1), form.start(2)
    name = modules_of(form.layout)[0] + ".lora_A"

    assert 0.4 < np.abs(one[name]).max() <= 0.5, "uniform within 1/sqrt(rank)"
    assert not np.array_equal(one[name], other[name])
    assert form.fingerprint != blueprint(model_folder("llama")).fingerprint


def test_with_a_frozen_only_b_travels(model_folder: Folder) -> None:
    form = blueprint(model_folder("llama"), train="b")

    assert {spec.name[-2:] for spec in form.trained.tensors} == {"_B"}
    assert len(form.trained.tensors) * 2 == len(form.layout.tensors)
    assert form.frozen.keys() | {spec.name for spec in form.trained.tensors} == set(form.start(0))


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        (
            "llama",
            {
                "model.norm.weight",
                "model.layers.1.mlp.up_proj.weight",
                "model.layers.0.input_layernorm.weight",
            },
        ),
        ("qwen2", {"lm_head.weight", "model.layers.0.self_attn.q_proj.bias"}),
        (
            "gpt2",
            {"transformer.ln_f.bias", "transformer.h.0.attn.c_attn.weight", "transformer.h.1.ln_2.weight"},
        ),
    ],
)
def test_full_training_is_of_blocks_final_norm_and_a_head_of_its_own(
    model_folder: Folder, family: str, wanted: set[str]
) -> None:
    form = blueprint(model_folder(family), train="full")
    names = {spec.name for spec in form.layout.tensors}

    assert wanted <= names
    assert ("lm_head.weight" in names) == (family == "qwen2")
    assert not any("embed" in name or "wte" in name or "wpe" in name for name in names)
    model = load_base(ModelConfig(name=str(model_folder(family)), device="cpu")).model
    embeddings = ("wte.", "wpe.", "embed_tokens.")
    assert form.layout.count == count_of(model, lambda name: not any(part in name for part in embeddings)), (
        "all but the embeddings; a tied head is counted with them"
    )
    assert form.rank == 0
    assert not any(values.any() for values in form.start(0).values())


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_all_training_adds_the_token_embeddings_to_full_training(model_folder: Folder, family: str) -> None:
    full, form = (blueprint(model_folder(family), train=kind) for kind in ("full", "all"))
    names, before = ({spec.name for spec in one.layout.tensors} for one in (form, full))

    (added,) = names - before
    assert before < names
    assert added in ("model.embed_tokens.weight", "transformer.wte.weight")
    model = load_base(ModelConfig(name=str(model_folder(family)), device="cpu")).model
    assert form.layout.count == count_of(model, lambda name: "wpe." not in name), (
        "learned positions stay those of the base"
    )


def test_biases_are_those_of_blocks_and_final_norm(model_folder: Folder) -> None:
    form = blueprint(model_folder("gpt2"), train="bias")

    assert {spec.name.rpartition(".")[2] for spec in form.layout.tensors} == {"bias"}
    model = load_base(ModelConfig(name=str(model_folder("gpt2")), device="cpu")).model
    assert form.layout.count == count_of(model, lambda name: name.endswith(".bias"))


def test_the_bias_of_a_head_of_its_own_is_none_of_them() -> None:
    model: Any = PhiForCausalLM(PhiConfig(**SMALL, intermediate_size=24))

    config = AdapterConfig(train="bias")
    form = attach(model, config).blueprint(config)

    assert model.get_output_embeddings().bias is not None
    assert form.layout.count == count_of(model, lambda name: name.endswith(".bias") and "lm_head" not in name)
    assert not any("lm_head" in spec.name for spec in form.layout.tensors)


@pytest.mark.parametrize("train", ["full", "bias", "all"])
def test_a_model_without_a_final_norm_says_so(train: Any) -> None:
    """As OPT's of 350 million parameters."""
    shape: Any = SMALL | {"ffn_dim": 24, "word_embed_proj_dim": 8, "do_layer_norm_before": False}

    with pytest.raises(
        UserMistake, match=f'adapter.train = "{train}" is not for this model: OPT.* has no norm'
    ):
        attach(OPTForCausalLM(OPTConfig(**shape)), AdapterConfig(train=train))


def test_a_model_without_biases_says_so(model_folder: Folder) -> None:
    with pytest.raises(UserMistake, match="no biases"):
        attached(model_folder("llama"), train="bias")


def test_another_scale_or_seed_is_another_network(model_folder: Folder) -> None:
    changes: list[AdapterOptions] = [
        {},
        {"alpha": 4.0},
        {"seed": "x"},
        {"train": "b"},
        {"train": "full"},
        {"train": "heads"},
        {"train": "all"},
    ]
    names = {blueprint(model_folder("llama"), **options).fingerprint for options in changes}

    assert len(names) == 7


def test_one_base_serves_every_rank_and_every_set_of_modules(model_folder: Folder) -> None:
    _, found, form = attached(model_folder("llama"))
    few = found.blueprint(AdapterConfig(rank=16, alpha=8.0, modules=("q_proj", "mlp.up_proj")))

    assert few.fingerprint == form.fingerprint
    assert few.schema is form.schema
    assert modules_of(few.layout) == tuple(
        name for name in modules_of(form.layout) if name.endswith(("q_proj", "up_proj"))
    )
    assert few.offer != form.offer


def test_a_module_that_the_model_does_not_have_is_named(model_folder: Folder) -> None:
    with pytest.raises(UserMistake, match="no linear layer 'c_attn'; it has down_proj, gate_proj"):
        attached(model_folder("llama"), modules=("c_attn",))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_model_is_found_its_way_about_with_sites_in_it(model_folder: Folder, family: str) -> None:
    """The contexts of block windows are made of bases that have sites already."""
    plain = load_base(ModelConfig(name=str(model_folder(family)), device="cpu")).model
    model, _, _ = attached(model_folder(family), train="full")

    assert blocks_name(model) == blocks_name(plain)
    assert isinstance(final_norm_of(model), Site)
    assert (own_head_of(model) is None) == (own_head_of(plain) is None)
