"""Tests of running models whose `forward` knows less than others'."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM

from gossipllm.model.running import logits_of
from support.zoo.shrinking import tiny

TOKENS = torch.arange(16).view(2, 8) + 4


@pytest.mark.parametrize("family", ["llama", "ctrl", "openai-gpt", "rwkv"])
def test_the_last_logits_are_those_of_the_last_position(family: str) -> None:
    model: Any = cast("Any", AutoModelForCausalLM).from_config(tiny(family)).eval()

    with torch.no_grad():
        every, last = logits_of(model, TOKENS), logits_of(model, TOKENS, last=True)

    assert last.shape == (2, 1, every.shape[-1])
    torch.testing.assert_close(last, every[:, -1:])
