"""Families that differ in kind go through the whole zoo, and come out as the page of models says."""

from __future__ import annotations

import pytest
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from support.zoo.examining import examined
from support.zoo.table import PAGE, row, rows_of

FAMILIES = (
    "llama",
    "gpt2",
    "phi3",
    "gptj",
    "opt",
    "bart",
    "bloom",
    "falcon",
    "gemma2",
    "mixtral",
    "qwen2_moe",
    "gpt_oss",
    "deepseek_v3",
    "qwen3_next",
    "mamba",
    "mamba2",
    "jamba",
    "rwkv",
    "ctrl",
    "bert",
)
"""Grouped queries, learned positions, fused layers, blocks side by side, no final norm, unused cross-attention, ALiBi,
one key for all heads, capped logits, experts of three kinds, latent attention, state spaces, hybrids, a recurrent
network, an old `forward`, and one that reads in both directions."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_comes_out_as_the_page_says(family: str) -> None:
    outcome = examined(family)

    assert not outcome.wrong, outcome.wrong
    assert row(outcome) == rows_of(PAGE.read_text(encoding="utf-8"))[family]


def test_the_page_has_a_row_for_each_family_of_the_installed_transformers() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert f"transformers {transformers.__version__}." in text, "run make zoo"
    assert set(rows_of(text)) == set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
