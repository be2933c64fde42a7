"""Tests of the proof that rows belong to the heads that they are taken for."""

from __future__ import annotations

from typing import Any, cast

import pytest
from transformers import AutoModelForCausalLM

from gossipllm.config import AdapterConfig
from gossipllm.model.adapter.placement import Attached, attach
from support.zoo.shrinking import tiny
from trust.errors import UserMistake


def heads_of(family: str) -> Attached:
    return attach(
        cast("Any", AutoModelForCausalLM).from_config(tiny(family)).eval(), AdapterConfig(train="heads")
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "olmo2", "gptj"])
def test_rows_in_the_order_of_heads_are_taken(family: str) -> None:
    assert heads_of(family).anatomy.names


def test_a_fused_layer_of_the_same_size_and_another_order_is_refused() -> None:
    """CodeGen's has queries, values and keys for each of several devices that it was trained on."""
    with pytest.raises(
        UserMistake, match=r"rows of transformer\.h\.0\.attn\.qkv_proj are not in the order of the heads"
    ):
        heads_of("codegen")
