"""Where all peers start, and what an adapter's tensors are called."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gossipllm.config import AdapterConfig, ModelConfig
from gossipllm.model.adapters import attach
from gossipllm.model.initial import initial_state
from gossipllm.model.models import load_base
from gossipllm.model.names import modules_of
from wire.tensors import Layout, TensorSpec

Folder = Callable[[str], Path]

LAYOUT = Layout((TensorSpec("h.0.attn.lora_A", (4, 32)), TensorSpec("h.0.attn.lora_B", (96, 4))))


def attached(folder: Path, **options: object):
    base = load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1))
    return attach(base.model, AdapterConfig(**({"rank": 4, "alpha": 8.0} | options)))  # pyright: ignore[reportArgumentType]


def layout(folder: Path) -> Layout:
    return attached(folder).blueprint.layout


def test_every_process_draws_the_same_initial_a() -> None:
    script = (
        "from gossipllm.model.initial import initial_state; from wire.tensors import Layout, TensorSpec;"
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
    names = modules_of(layout(model_folder(family)))

    assert len(names) == modules
    assert names == tuple(sorted(names))
    assert not any("lm_head" in name or "base_model" in name or "default" in name for name in names)


def test_shapes_are_of_inputs_and_outputs_whatever_the_family_stores(model_folder: Folder) -> None:
    shapes = {spec.name: spec.shape for spec in layout(model_folder("gpt2")).tensors}

    assert shapes["transformer.h.0.attn.c_attn.lora_A"] == (4, 32)
    assert shapes["transformer.h.0.attn.c_attn.lora_B"] == (96, 4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_each_adapter_adds_alpha_over_rank_b_a_to_its_own_rows(model_folder: Folder, family: str) -> None:
    found = attached(model_folder(family))
    name, rng = modules_of(found.blueprint.layout)[0], torch.Generator().manual_seed(0)
    layer = found.layers[name]
    a_shape, b_shape = (
        next(spec.shape for spec in found.blueprint.layout.tensors if spec.name == name + factor)
        for factor in (".lora_A", ".lora_B")
    )
    a, b = torch.randn(2, *a_shape, generator=rng), torch.randn(2, *b_shape, generator=rng)
    x = torch.randn(6, 5, a_shape[1], generator=rng)
    frozen = layer(x)

    layer.a_PRI, layer.b_POR = a, b

    for mine, rows in ((0, slice(0, 3)), (1, slice(3, 6))):
        want = frozen[rows] + 8.0 / 4 * x[rows] @ a[mine].T @ b[mine].T
        torch.testing.assert_close(layer(x)[rows], want, atol=1e-4, rtol=1e-5)


def test_a_start_of_ones_own_is_wide_and_nobody_elses(model_folder: Folder) -> None:
    blueprint = attached(model_folder("llama"), start="own").blueprint
    one, other = blueprint.start(1), blueprint.start(2)
    name = modules_of(blueprint.layout)[0] + ".lora_A"

    assert 0.4 < np.abs(one[name]).max() <= 0.5, "uniform within 1/sqrt(rank)"
    assert not np.array_equal(one[name], other[name])
    assert blueprint.fingerprint != attached(model_folder("llama")).blueprint.fingerprint


def test_with_a_frozen_only_b_travels(model_folder: Folder) -> None:
    blueprint = attached(model_folder("llama"), train="b").blueprint

    assert {spec.name[-2:] for spec in blueprint.trained.tensors} == {"_B"}
    assert len(blueprint.trained.tensors) * 2 == len(blueprint.layout.tensors)


def test_another_scale_or_seed_is_another_layout(model_folder: Folder) -> None:
    names = {
        attached(model_folder("llama"), **options).blueprint.fingerprint
        for options in ({}, {"alpha": 4.0}, {"seed": "x"})
    }

    assert len(names) == 3
