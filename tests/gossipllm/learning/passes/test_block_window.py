"""How many blocks fit: said, or by the estimate of what a step takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gossipllm.config import AdapterConfig, LayersConfig, LearnerConfig
from gossipllm.learning.passes.block_window import block_window_count
from gossipllm.learning.passes.memory.step_memory import step_bytes
from gossipllm.model.adapter.placement import attach
from gossipllm.model.loading.models import Base
from trust.errors import UserMistake

Config = Callable[..., LearnerConfig]
BLOCKS = 4


def parts_of(config: LearnerConfig) -> tuple[Any, Any]:
    shape = LlamaConfig(
        vocab_size=320,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(shape).eval().requires_grad_(False)
    blueprint = attach(model, config.adapter).blueprint(config.adapter)
    return Base(model, None, torch.device("cpu"), torch.float32), blueprint  # pyright: ignore[reportArgumentType]


def test_a_window_is_as_large_as_said_and_no_larger_than_the_model(config: Config) -> None:
    base, blueprint = parts_of(config())

    assert block_window_count(config(), base, blueprint) == 0, "all layers, and no windows"
    assert block_window_count(config(layers=LayersConfig(count=2)), base, blueprint) == 2
    with pytest.raises(UserMistake, match=r"layers.count is 5, but the model has 4 blocks"):
        block_window_count(config(layers=LayersConfig(count=5)), base, blueprint)


def test_the_largest_window_that_fits_is_taken_and_too_little_says_how_much_is_needed(config: Config) -> None:
    large = config(adapter=AdapterConfig(train="full"))
    base, blueprint = parts_of(large)
    needed = [-(-step_bytes(large, base, blueprint, count) // 10**6) for count in range(1, BLOCKS + 1)]

    for count, megabytes in enumerate(needed, start=1):
        asked = replace(large, layers=LayersConfig(memory_mb=megabytes))
        assert block_window_count(asked, base, blueprint) == count
    with pytest.raises(UserMistake, match=f"about {needed[0]};"):
        block_window_count(replace(large, layers=LayersConfig(memory_mb=1)), base, blueprint)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ({"context": "drop"}, {"context": "none"}),
        ({"context": "drop"}, {"context": "distil"}),
        ({"context": "int4"}, {"context": "int8"}),
        ({"context": "none", "checkpoint": True}, {"context": "none"}),
        ({"context": "drop", "ratio": 0.05}, {"context": "int8"}),
    ],
)
def test_what_saves_memory_is_estimated_to(config: Config, smaller: Any, larger: Any) -> None:
    base, blueprint = parts_of(config())
    less, more = (
        step_bytes(config(layers=LayersConfig(count=1, **one)), base, blueprint, 1)
        for one in (smaller, larger)
    )

    assert less < more
