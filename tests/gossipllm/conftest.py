"""Tiny models of three families with a tokenizer trained on the spot, and a text to learn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from gossipllm.config import (
    AdapterConfig,
    DataConfig,
    LearnerConfig,
    ModelConfig,
    ReferenceConfig,
    TrainingConfig,
)
from support.tensors import seed_torch

FAMILIES = ("llama", "gpt2", "qwen2")

TEXT = "\n".join(
    f"In the year {1500 + 7 * i % 499} the {animal} of {place} {verb} {3 + i % 17} times ere {season} came."
    for i in range(60)
    for animal, place, verb, season in (
        ("otter", "Lisbon", "sang", "winter"),
        ("heron", "Bergen", "slept", "spring"),
        ("badger", "Zadar", "danced", "the rain"),
    )
)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([TEXT], trainer)
    template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", chat_template=template)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[[str], Path]:
    """The folder of a tiny model of a family, its weights drawn from a fixed seed."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            _tiny(family, len(tokenizer)).save_pretrained(made[family])
            tokenizer.save_pretrained(made[family])
        return made[family]

    return folder


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "own.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def config(model_folder: Callable[[str], Path], text_file: Path) -> Callable[..., LearnerConfig]:
    """A learner's configuration over a family's tiny model; keywords replace whole sections."""

    def make(family: str = "llama", **sections: Any) -> LearnerConfig:
        given: dict[str, Any] = {
            "model": ModelConfig(name=str(model_folder(family)), device="cpu", dtype="float32", threads=1),
            "adapter": AdapterConfig(rank=4, alpha=8.0),
            "data": DataConfig(path=str(text_file), window_tokens=24, trust_windows=8, test_windows=8),
            "training": TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=2),
            "reference": ReferenceConfig(source=str(text_file), windows=4, window_bytes=24, top=4),
        }
        return LearnerConfig(**(given | sections))

    return make


def _tiny(family: str, vocabulary: int) -> Any:
    seed_torch(7)
    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True))
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=False))
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=64))
