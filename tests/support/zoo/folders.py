"""Folders of tiny models as `save_pretrained` writes them, with a tokenizer that was trained on the spot."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from support.tensors import seed_torch
from support.zoo.shrinking import tiny

TEXT = "\n".join(
    f"In the year {1500 + 7 * i % 499} the {animal} of {place} {verb} {3 + i % 17} times ere {season} came."
    for i in range(16)
    for animal, place, verb, season in (
        ("otter", "Lisbon", "sang", "winter"),
        ("heron", "Bergen", "slept", "spring"),
        ("badger", "Zadar", "danced", "the rain"),
    )
)


_MOST: Final = 4_000_000


class NotMade(Exception):
    """There is no tiny model of a family: transformers makes none, or one that is not tiny."""


@cache
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
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>")


def write_model(family: str, folder: Path) -> None:
    """Write a tiny model of this `model_type`, whose weights are drawn from a fixed seed. Raises `NotMade`."""
    seed_torch(7)
    try:
        model: Any = cast("Any", AutoModelForCausalLM).from_config(tiny(family))
    except Exception as error:
        raise NotMade(f"{type(error).__name__}: {' '.join(str(error).split())[:120]}") from error
    if (count := sum(value.numel() for value in model.parameters())) > _MOST:
        raise NotMade(f"the law leaves it {count:,} parameters")
    _spread(model)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


@torch.no_grad()
def _spread(model: torch.nn.Module) -> None:
    """Widen the initial weights, so that every layer of so small a model has an effect that rounding does not hide, and
    nothing is multiplied by the zero or one that it begins with."""
    for value in model.parameters():
        if value.ndim < 2:
            value.add_(0.1 * torch.randn_like(value))
        elif value.is_floating_point() and float(value.std()) < 0.1:
            value.mul_(0.15 / max(float(value.std()), 1e-6))
