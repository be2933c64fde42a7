"""The embedded models load, are small, speak English best, and are those of their recipes."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from gossipllm import base
from gossipllm.base.making.loss import evaluate
from gossipllm.base.making.recipe import RECIPES
from gossipllm.base.making.vocabulary import bytes_per_token, encode, load_tokenizer
from gossipllm.model.loading.models import tokenizer_fingerprint
from gossipllm.model.loading.presence import presence_of
from trust.errors import UserMistake

ENGLISH_BOUNDS = {"embedded": 1.6, "embedded-small": 1.65, "embedded-1024": 1.8}
"""Bits a byte on a few windows. The shipped weights measure 1.45, 1.49 and 1.57, a fresh model 3.0."""

SIZES = {"embedded": 12_000_000, "embedded-small": 3_000_000, "embedded-1024": 3_000_000}
"""Most bytes of a model's whole folder."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def loaded(name: str) -> LlamaForCausalLM:
    return cast("Any", AutoModelForCausalLM).from_pretrained(
        base.model_folder(name), local_files_only=True, dtype=torch.float32
    )


def bits_per_byte(name: str, model: LlamaForCausalLM, text: str) -> float:
    tokenizer = load_tokenizer(base.model_folder(name))
    stream = encode(tokenizer, base.corpus_file(text))
    lengths = bytes_per_token(tokenizer)
    return evaluate(model, stream, lengths, window_tokens=256, bf16=False, count=8)[1]


@pytest.mark.parametrize("name", base.MODELS)
def test_an_embedded_model_loads_through_the_ordinary_classes_and_is_small(name: str) -> None:
    model = loaded(name)
    folder = base.model_folder(name)
    tokenizer = cast("Any", AutoTokenizer).from_pretrained(folder, local_files_only=True)
    assert len(tokenizer) == model.config.vocab_size
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0, 1)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= SIZES[name]
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


@pytest.mark.parametrize("name", base.MODELS)
def test_the_shipped_configuration_is_the_recipe(name: str) -> None:
    config = loaded(name).config
    recipe = RECIPES[name].config(RECIPES[name].vocabulary)
    shape = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    for one in (*shape, "max_position_embeddings", "tie_word_embeddings"):
        assert getattr(config, one) == getattr(recipe, one)


def test_the_small_model_shares_its_tokenizer_and_the_other_has_its_own() -> None:
    names = {name: tokenizer_fingerprint(load_tokenizer(base.model_folder(name))) for name in base.MODELS}
    assert names["embedded"] == names["embedded-small"] != names["embedded-1024"]


@pytest.mark.parametrize("name", base.MODELS)
@pytest.mark.parametrize("text", base.CORPORA)
def test_a_tokenizer_gives_every_text_back_byte_for_byte(name: str, text: str) -> None:
    tokenizer: Any = load_tokenizer(base.model_folder(name))
    whole = base.corpus_file(text).read_text(encoding="utf-8")[:20_000]
    ids = tokenizer.encode(whole)
    assert tokenizer.decode(ids) == whole
    assert bytes_per_token(tokenizer)[ids].sum() == len(whole.encode())


def test_a_dialogue_becomes_a_line_a_turn_and_marks_the_answers() -> None:
    tokenizer: Any = load_tokenizer(base.model_folder())
    dialogue = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    text = tokenizer.apply_chat_template(dialogue, tokenize=False)
    assert text == "user: Why?\nassistant: So.<|endoftext|>\n"
    question = tokenizer.apply_chat_template(dialogue[:1], tokenize=False, add_generation_prompt=True)
    assert question == "user: Why?\nassistant:"
    encoded = tokenizer.apply_chat_template(dialogue, return_dict=True, return_assistant_tokens_mask=True)
    answer = [
        token
        for token, marked in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if marked
    ]
    assert tokenizer.decode(answer) == " So.<|endoftext|>"


@pytest.mark.parametrize("name", base.MODELS)
def test_english_is_its_own_language_and_the_others_are_not(name: str) -> None:
    model = loaded(name)
    english = bits_per_byte(name, model, "en")
    assert english < ENGLISH_BOUNDS[name]
    for text in ("fr", "de", "it", "java"):
        assert bits_per_byte(name, model, text) > english + 1.0


@pytest.mark.parametrize("name", base.MODELS)
def test_a_name_is_found_without_a_folder_or_the_hub(name: str) -> None:
    found = presence_of(name, "model.name")
    assert found.place == "embedded"
    assert found.size == (base.model_folder(name) / "model.safetensors").stat().st_size
    assert found.line(name) == f"base: {name}, comes with this program"


def test_another_name_that_begins_alike_is_no_embedded_model() -> None:
    assert "embedded-large" not in base.MODELS
    with pytest.raises(UserMistake, match="there is no folder"):
        presence_of("./embedded-small", "model.name")


def test_an_unknown_corpus_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"fr, de, it, en, java, got 'es'"):
        base.corpus_file("es")
