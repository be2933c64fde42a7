"""Tests of the number of trained parameters against numbers in papers, for models on the meta device.

A model on the meta device has shapes and no memory, so that eight billion parameters are counted in a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict, Unpack, cast

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GPT2Config,
    LlamaConfig,
)

from gossipllm.config import AdapterConfig
from gossipllm.model.adapter.placement import attach
from gossipllm.model.adapter.selection import selection
from gossipllm.model.adapter.selection.reach import Reach
from gossipllm.model.blocks import blocks_name, blocks_of, final_norm_of, own_head_of


class Gpt2Shape(TypedDict, total=False):
    n_layer: int
    n_embd: int
    n_head: int


LARGE: Gpt2Shape = {"n_layer": 36, "n_embd": 1280, "n_head": 20}


def on_meta(config: Any) -> Any:
    loader: Any = AutoModelForCausalLM
    with torch.device("meta"):
        return loader.from_config(config)


def gpt2(**shape: Unpack[Gpt2Shape]) -> Any:
    return on_meta(GPT2Config(**shape))


def llama() -> Any:
    """A model with the shape of Llama-3.1-8B."""
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


def trained(model: Any, *, blocks: int | None = None, **config: Any) -> int:
    """The number of parameters that an adapter trains in the first `blocks` blocks, or in all blocks for None, and
    outside all blocks."""
    choice = AdapterConfig(**config)
    form = attach(model, choice).blueprint(choice)
    units = form.own if blocks is None else form.units_in(0, blocks)
    return form.schema.layout(form.schema.offer(units, form.rank)).count


def test_a_block_window_of_one_block_trains_what_leff_counts() -> None:
    assert trained(gpt2(), train="full", blocks=1) == 7_089_408
    assert trained(gpt2(**LARGE), train="full", blocks=1) == 19_680_000
    assert trained(llama(), train="full", blocks=1) == 743_452_672, "with the head, which is not tied"


def test_lora_on_all_layers_trains_what_leff_counts() -> None:
    attention_and_output = ("c_attn", "c_proj")

    assert trained(gpt2(), rank=8, modules=attention_and_output) == 811_008
    assert trained(gpt2(**LARGE), rank=8, modules=attention_and_output) == 4_055_040
    assert trained(llama(), rank=8) == 20_971_520


def test_lora_on_deberta_with_its_classifier_trains_what_leff_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # A classifier predicts no tokens, for which a trial would refuse it.
    def reached(_: object, names: Iterable[str]) -> Reach:
        return Reach({}, frozenset(names))

    monkeypatch.setattr(selection, "reach_of", reached)
    # Some of its settings are no parameters of its own by their types.
    config = cast("Any", DebertaV2Config)(
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

    adapted = trained(model, rank=8, modules=("query_proj", "key_proj", "value_proj", "dense"))

    assert classifier == 1_538
    assert adapted + classifier == 1_340_930


def test_biases_are_those_of_the_blocks_and_of_the_final_norm() -> None:
    """BitFit trains these biases (Ben Zaken et al. 2022, arXiv 2106.10199)."""
    assert trained(gpt2(), train="bias") == 102_144


def test_a_block_window_of_two_blocks_counts_the_norm_once() -> None:
    assert trained(gpt2(), train="full", blocks=2) == 2 * (7_089_408 - 1_536) + 1_536


@pytest.mark.parametrize(
    ("make", "name", "count"), [(gpt2, "transformer.h", 12), (llama, "model.layers", 32)]
)
def test_blocks_are_found_in_either_family(make: Any, name: str, count: int) -> None:
    model = make()

    assert (blocks_name(model), len(blocks_of(model))) == (name, count)


def test_norm_and_head_are_found_in_either_family() -> None:
    small, large = gpt2(), llama()

    assert final_norm_of(small) is small.transformer.ln_f
    assert final_norm_of(large) is large.model.norm
    assert own_head_of(small) is None, "it is the embeddings once more"
    assert own_head_of(large) is large.lm_head
