"""Counts of trained parameters against those that papers print, on the meta device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, GPT2Config, LlamaConfig

from gossipllm.model.blocks import blocks_name, blocks_of, final_norm_of, own_head_of
from gossipllm.model.counts import bias_count, lora_count, on_meta, window_count

LARGE = {"n_layer": 36, "n_embd": 1280, "n_head": 20}


def gpt2(**shape: int) -> Any:
    return on_meta(GPT2Config(**shape))


@pytest.fixture(scope="module")
def llama() -> Any:
    """The shape of Llama-3.1-8B."""
    return on_meta(
        LlamaConfig(
            vocab_size=128_256,
            hidden_size=4096,
            intermediate_size=14_336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
            tie_word_embeddings=False,
        )
    )


def test_a_window_of_one_block_trains_what_leff_counts(llama: Any) -> None:
    assert window_count(gpt2()) == 7_089_408
    assert window_count(gpt2(**LARGE)) == 19_680_000
    assert window_count(llama) == 743_452_672, "with the head, which is not tied"


def test_lora_on_all_layers_trains_what_leff_counts(llama: Any) -> None:
    attention_and_output = ("c_attn", "c_proj")

    assert lora_count(gpt2(), 8, attention_and_output) == 811_008
    assert lora_count(gpt2(**LARGE), 8, attention_and_output) == 4_055_040
    assert lora_count(llama, 8) == 20_971_520


def test_lora_on_deberta_with_its_classifier_trains_what_leff_counts() -> None:
    config = DebertaV2Config(
        vocab_size=128_100,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        num_labels=2,
    )
    with torch.device("meta"):
        model: Any = DebertaV2ForSequenceClassification(config)
    classifier = sum(value.numel() for value in model.classifier.parameters())

    adapted = lora_count(model, 8, ("query_proj", "key_proj", "value_proj", "dense"))

    assert classifier == 1_538
    assert adapted + classifier == 1_340_930


def test_biases_are_those_of_the_blocks_and_of_the_final_norm() -> None:
    assert bias_count(gpt2()) == 102_144


def test_windows_of_two_count_the_norm_once() -> None:
    model = gpt2()

    assert window_count(model, 2) == 2 * (7_089_408 - 1_536) + 1_536
    with pytest.raises(ValueError, match="count must leave 2 blocks from 11 on, the model has 12"):
        window_count(model, 2, first=11)


def test_blocks_norm_and_head_are_found_in_either_family(llama: Any) -> None:
    small = gpt2()

    assert (blocks_name(small), len(blocks_of(small))) == ("transformer.h", 12)
    assert (blocks_name(llama), len(blocks_of(llama))) == ("model.layers", 32)
    assert final_norm_of(small) is small.transformer.ln_f
    assert final_norm_of(llama) is llama.model.norm
    assert own_head_of(small) is None, "it is the embeddings once more"
    assert own_head_of(llama) is llama.lm_head
