"""Tests of an adapter in all of a base for a while, and folded into a copy."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM

from gossipllm.config import AdapterConfig
from gossipllm.model.adapter.folding import fold, mounted_on
from gossipllm.model.adapter.placement import Attached, attach
from support.tensors import seed_torch
from support.zoo.shrinking import tiny

TOKENS_BT = torch.arange(4, 28).view(2, 12)


def based(family: str, train: Any) -> tuple[Any, Attached]:
    seed_torch(3)
    model: Any = cast("Any", AutoModelForCausalLM).from_config(tiny(family)).eval().requires_grad_(False)
    return model, attach(model, AdapterConfig(train=train, rank=4, alpha=8.0))


def tensors_for(attached: Attached) -> dict[str, torch.Tensor]:
    return {one.name: 0.1 * torch.randn(1, *one.at(4).shape) for one in attached.anatomy.tensors}


@pytest.mark.parametrize(
    ("family", "train"), [("llama", "both"), ("gpt2", "both"), ("llama", "full"), ("gpt2", "full")]
)
def test_a_folded_copy_computes_what_the_base_computes_with_the_adapter(family: str, train: Any) -> None:
    model, attached = based(family, train)
    before = model(TOKENS_BT).logits

    with mounted_on(model, tensors_for(attached), scale=2.0):
        adapted = model(TOKENS_BT).logits
        copy = deepcopy(model)
    fold(copy)

    assert not torch.allclose(adapted, before, atol=1e-2)
    assert torch.allclose(copy(TOKENS_BT).logits, adapted, atol=1e-4)
    assert torch.equal(model(TOKENS_BT).logits, before), "the base is as it was"
