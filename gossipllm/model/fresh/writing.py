"""Writes a random base as a folder that `AutoModelForCausalLM.from_pretrained` reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from gossipllm.base.making.vocabulary import make_tokenizer, save_tokenizer
from gossipllm.config import EMBEDDED, ModelConfig
from gossipllm.model.fresh.shape import BaseShape
from gossipllm.model.fresh.weights import model_config, weights
from gossipllm.model.loading.models import base_fingerprint, load_base, load_tokenizer, tokenizer_fingerprint
from gossipllm.text.reading.corpus import read_documents
from trust.folders import written_folder

_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class WrittenBase:
    """`base` and `tokenizer` are the fingerprints that peers hold against each other's."""

    parameters: int
    vocabulary: int
    base: bytes
    tokenizer: bytes


def trained_tokenizer(shape: BaseShape, text: str, key: str) -> PreTrainedTokenizerFast:
    """A tokenizer made from all documents at a path. Raises `UserMistake`; `key` is the flag that named it."""
    # Its chat template is that of the tokenizer to be made, so conversations read as the model will see them.
    documents = read_documents(text, load_tokenizer(EMBEDDED, key), key=key)
    return make_tokenizer((one.text for one in documents), size=shape.vocabulary)


def write_base(
    shape: BaseShape, tokenizer: PreTrainedTokenizerBase, out: Path, *, trained: bool
) -> WrittenBase:
    """Write the folder and read it back; `trained` is whether the tokenizer is of `trained_tokenizer`. Raises
    `UserMistake` where it cannot be written."""
    given = cast("Any", tokenizer)
    special = {name: getattr(given, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = model_config(shape, len(given), special=special)
    tensors = weights(shape, config)
    with written_folder(out, key=_CONFIG) as folder:
        cast("Any", config).save_pretrained(folder)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        if trained:
            save_tokenizer(given, folder)
        else:
            given.save_pretrained(folder)
    base = load_base(ModelConfig(name=str(out.absolute()), device="cpu"))
    return WrittenBase(
        sum(value.numel() for value in tensors.values()),
        len(given),
        base_fingerprint(base.model),
        tokenizer_fingerprint(base.tokenizer),
    )
