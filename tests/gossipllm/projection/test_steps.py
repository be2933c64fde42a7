"""Each kind of layer takes the step that text chooses for it, and other text says what that is worth."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gossipllm.config import ModelConfig
from gossipllm.learning.merging.products.products import MergeError
from gossipllm.model.adapter.peft_folder import Product
from gossipllm.model.blocks import linears_of
from gossipllm.model.loading.models import Base, load_base
from gossipllm.projection import steps
from gossipllm.projection.matching import kind_of
from gossipllm.projection.projecting import weight_of
from gossipllm.projection.steps import ETAS, chosen_steps, judging_windows, taken
from gossipllm.text.windows import Windows
from gossipllm.vectors.arithmetic import Combined
from support.tensors import seed_torch
from trust.errors import UserMistake

TEXT = "".join(f"The otter number {n * n} of Lisbon sang {n % 7} times in {1500 + n}.\n" for n in range(120))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Base:
    folder = tmp_path_factory.mktemp("large") / "model"
    seed_torch(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    cast("Any", LlamaForCausalLM(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_base(ModelConfig(name=str(folder), device="cpu", dtype="float32"))


@pytest.fixture(scope="module")
def windows_WT(large: Base) -> Windows:
    return judging_windows(TEXT, large)[:8, :32]


def helpful(large: Base, windows_WT: Windows, module: str) -> Product:
    """The steepest descent of the loss in one layer, as long as lowers it clearly."""
    weight = cast("Any", large.model.get_submodule(module)).weight
    tokens = torch.tensor(windows_WT, dtype=torch.long)
    weight.requires_grad_(True)
    cast("Any", large.model)(input_ids=tokens, labels=tokens).loss.backward()
    gradient_OI = weight.grad.clone()
    weight.grad = None
    weight.requires_grad_(False)
    down_OI = -5.0 * gradient_OI / gradient_OI.norm()
    return Product(np.eye(down_OI.shape[1], dtype=np.float32), down_OI.numpy(), 1.0)


def noise(large: Base, module: str) -> Product:
    outputs, inputs = weight_of(linears_of(large.model)[module]).shape
    rng = np.random.default_rng(3)
    return Product(
        rng.normal(size=(4, inputs)).astype(np.float32),
        3 * rng.normal(size=(outputs, 4)).astype(np.float32),
        1.0,
    )


def test_a_kind_that_helps_is_taken_and_one_that_harms_is_not(large: Base, windows_WT: Windows) -> None:
    down, value = "model.layers.1.mlp.down_proj", "model.layers.0.self_attn.v_proj"
    step = Combined({down: helpful(large, windows_WT, down), value: noise(large, value)}, 32, MergeError())

    found = chosen_steps(step, large, windows_WT)

    assert found.etas["down"] > 0
    assert found.etas["down"] in ETAS
    assert found.alone["down"] > 0
    assert found.after < found.before
    assert any(line.strip().startswith("down") for line in found.told())
    made = taken(step, {**found.etas, "value": 0.0})
    assert list(made.products) == [down]
    assert np.allclose(made.products[down].b_OR, found.etas["down"] * step.products[down].b_OR)


def test_a_step_that_costs_the_own_text_too_much_is_not_taken(
    large: Base, windows_WT: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = "model.layers.1.mlp.down_proj"
    step = Combined({down: helpful(large, windows_WT, down)}, 16, MergeError())
    other_WT = windows_WT.copy()
    other_WT[:] = np.random.default_rng(0).integers(0, 200, windows_WT.shape[1])

    free = chosen_steps(step, large, windows_WT)
    monkeypatch.setattr(steps, "MOST", math.inf)
    told = chosen_steps(step, large, windows_WT, own_WT=other_WT)
    monkeypatch.setattr(steps, "MOST", 0.0)
    bound = chosen_steps(step, large, windows_WT, own_WT=other_WT)

    assert free.own is None
    assert told.own is not None
    assert told.own > 0, "what helps one text costs this one"
    assert bound.own is not None
    assert 0 <= bound.etas["down"] < told.etas["down"] == free.etas["down"]
    assert any(line.startswith("own text that chose nothing") for line in bound.told())


def test_what_was_chosen_is_judged_on_other_windows_and_the_model_is_left_as_it_was(
    large: Base, windows_WT: Windows
) -> None:
    down = "model.layers.1.mlp.down_proj"
    step = Combined({down: helpful(large, windows_WT, down)}, 16, MergeError())
    weight = weight_of(linears_of(large.model)[down]).clone()
    seen: list[int] = []

    found = chosen_steps(step, large, windows_WT, on_progress=lambda done, _of: seen.append(done))
    unchanged = chosen_steps(step, large, windows_WT[[0, 3, 2, 1, 4, 5, 6, 7]])

    assert torch.equal(weight_of(linears_of(large.model)[down]), weight)
    assert seen == list(range(1, len(seen) + 1))
    # The judging windows in another order judge alike.
    assert unchanged.before == pytest.approx(found.before, rel=1e-5)
    other = chosen_steps(step, large, np.concatenate([windows_WT[1:], windows_WT[:1]]))
    assert other.before != pytest.approx(found.before, rel=1e-5)


def test_a_step_that_only_harms_is_not_written(large: Base) -> None:
    step = Combined(
        {"model.layers.0.self_attn.v_proj": noise(large, "model.layers.0.self_attn.v_proj")}, 4, MergeError()
    )
    with pytest.raises(UserMistake, match=r"--eta auto: no step of any kind"):
        taken(step, {"value": 0.0})


def test_too_little_text_cannot_choose(large: Base) -> None:
    with pytest.raises(UserMistake, match=r"--trust: 0 windows of 128 tokens"):
        judging_windows("One line.", large)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("model.layers.3.mlp.down_proj", "down"),
        ("transformer.h.0.attn.c_proj", "attention output"),
        ("transformer.h.0.mlp.c_proj", "down"),
        ("transformer.h.0.attn.c_attn", "c_attn"),
    ],
)
def test_families_name_one_kind_of_layer_differently(module: str, kind: str) -> None:
    assert kind_of(module) == kind
