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
    base = load_base(ModelConfig(name=str(folder), device="cpu", dtype="bfloat16", threads=1))
    return attach(base.model, AdapterConfig(**({"rank": 4, "alpha": 8.0} | options)))  # pyright: ignore[reportArgumentType]


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
    names = modules_of(attached(model_folder(family)).layout)

    assert len(names) == modules
    assert names == tuple(sorted(names))
    assert not any("lm_head" in name or "base_model" in name or "default" in name for name in names)


def test_shapes_are_of_inputs_and_outputs_whatever_the_family_stores(model_folder: Folder) -> None:
    shapes = {spec.name: spec.shape for spec in attached(model_folder("gpt2")).layout.tensors}

    assert shapes["transformer.h.0.attn.c_attn.lora_A"] == (4, 32)
    assert shapes["transformer.h.0.attn.c_attn.lora_B"] == (96, 4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_an_adapter_computes_alpha_over_rank_b_a(model_folder: Folder, family: str) -> None:
    adapter = attached(model_folder(family))
    name, rng = modules_of(adapter.layout)[0], np.random.default_rng(0)
    state = adapter.state()
    b = rng.normal(size=state[name + ".lora_B"].shape).astype(np.float32)
    module = adapter.model.get_submodule("base_model.model." + name).float()
    x = torch.randn(3, state[name + ".lora_A"].shape[1], generator=torch.Generator().manual_seed(0))
    before = module(x).detach().numpy()

    adapter.set_state(state | {name + ".lora_B": b})

    want = x.numpy() @ (8.0 / 4 * b @ state[name + ".lora_A"]).T
    np.testing.assert_allclose(module(x).detach().numpy() - before, want, atol=1e-5)


def test_adapters_are_float32_over_a_bfloat16_base_and_set_exactly(model_folder: Folder) -> None:
    adapter = attached(model_folder("llama"))
    rng = np.random.default_rng(1)
    state = {s.name: rng.normal(size=s.shape).astype(np.float32) for s in adapter.layout.tensors}

    adapter.set_state(state)

    assert all(np.array_equal(adapter.state()[name], values) for name, values in state.items())


def test_another_scale_or_seed_is_another_layout(model_folder: Folder) -> None:
    names = {
        attached(model_folder("llama"), **options).fingerprint
        for options in ({}, {"alpha": 4.0}, {"seed": "x"})
    }

    assert len(names) == 3
