"""The weights of a random base: a function of the public seed, the shape and the names of the tensors.

Peers that pre-train together begin from one base and send only how far they are from it, so its weights must be equal
bit for bit, whatever the machine and the versions of torch and numpy. They come from `gossipllm.randomness`, are
uniform, because logarithms and cosines differ in their last bits between libraries, and are rounded to bfloat16, so
that peers which compute in float32 hold the same base as those which do not.

Their standard deviations are those of GPT-NeoX (2204.06745, section 2.2): sqrt(2 / (5 width)) for all matrices
("small init"), and 2 / (layers sqrt(width)) for those whose output is added to the residual stream. Norms begin at 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gossipllm.model.fresh.shape import BaseShape
from gossipllm.randomness import symmetric

_LABEL: Final = "gossipllm/base/1"
_RESIDUAL: Final = ("o_proj.weight", "down_proj.weight")


def model_config(shape: BaseShape, vocabulary: int, *, special: Mapping[str, int | None]) -> LlamaConfig:
    """The configuration of a model of this shape with `vocabulary` tokens; `special` has the ids of its
    tokenizer's special tokens, as `bos_token_id`."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward_width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.window,
        tie_word_embeddings=True,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
        bos_token_id=special.get("bos_token_id"),
        eos_token_id=special.get("eos_token_id"),
        pad_token_id=special.get("pad_token_id"),
    )


def weights(shape: BaseShape, config: LlamaConfig) -> dict[str, torch.Tensor]:
    """The tensors by the names that they have in a file; a tied head has none of its own."""
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    return {name: _drawn(shape, name, tuple(value.shape)) for name, value in model.named_parameters()}


def _drawn(shape: BaseShape, name: str, size: tuple[int, ...]) -> torch.Tensor:
    if len(size) == 1:
        return torch.ones(size, dtype=torch.bfloat16)
    deviation = math.sqrt(2 / (5 * shape.hidden))
    if name.endswith(_RESIDUAL):
        deviation = 2 / (shape.layers * math.sqrt(shape.hidden))
    # A uniform number within b has a standard deviation of b / sqrt(3).
    draws = symmetric(_LABEL, (shape.seed, name), math.prod(size)) * (math.sqrt(3) * deviation)
    return torch.tensor(draws.reshape(size)).to(torch.bfloat16)
