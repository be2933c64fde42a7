"""Tests of coverage: what a user is told about weights that get no adapter."""

from __future__ import annotations

from typing import Any, cast

import pytest
from transformers import AutoModelForCausalLM

from gossipllm.config import AdapterConfig
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.selection.coverage import Coverage
from support.zoo.shrinking import tiny


def coverage(family: str, train: Any = "both") -> Coverage:
    model: Any = cast("Any", AutoModelForCausalLM).from_config(tiny(family)).eval()
    return attach(model, AdapterConfig(train=train)).coverage


def test_a_dense_model_is_covered_but_for_embeddings_head_and_norms() -> None:
    found = coverage("llama")

    assert found.left == ()
    assert found.kinds == dict.fromkeys(
        ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"), 2
    )


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_experts_without_an_adapter_are_said_with_their_share(family: str) -> None:
    found = coverage(family)
    model: Any = cast("Any", AutoModelForCausalLM).from_config(tiny(family))
    sizes = {name: value.numel() for name, value in model.named_parameters()}
    share = sum(size for name, size in sizes.items() if name.endswith(("up_proj", "down_proj"))) / sum(
        sizes.values()
    )

    assert found.lines()[0].startswith(f"left out: experts, {100 * share:.0f} % of the weights")


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_full_training_includes_experts_and_routers(family: str) -> None:
    found = coverage(family, "full")

    assert {"experts"} < set(found.kinds)
    assert all(left.share < 0.01 for left in found.left), "the sinks of GPT-OSS lie beside the layers"


def test_what_full_training_leaves_out_of_a_state_space_model_is_said() -> None:
    said = "\n".join(coverage("mamba", "full").lines())

    assert "A_log, D" in said
    assert "conv1d" in said


def test_of_a_model_with_rotary_positions_nothing_is_left_out_of_training_all() -> None:
    found = coverage("llama", "all")

    assert (found.left, found.share) == ((), 1.0)


def test_learned_positions_are_said_to_be_left_out_of_training_all() -> None:
    said = "\n".join(coverage("gpt2", "all").lines())

    assert "wpe" in said
