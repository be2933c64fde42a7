"""How the embedded models are pretrained: their shapes and tokenizers, the budget and the learning rate schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transformers import LlamaConfig

from gossipllm.base import MODELS
from gossipllm.config import EMBEDDED

CONTEXT_LENGTH = 256
"""Tokens that an embedded model can read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecipe:
    """The shape of an embedded model, a Llama with tied embeddings, and its tokenizer."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int
    """Size of the vocabulary. Where the corpus is too small for it, the tokenizer has fewer tokens."""

    tokenizer_of: str = ""
    """The embedded model whose tokenizer it shares; "" makes a tokenizer from the corpus."""

    def config(self, vocabulary: int) -> LlamaConfig:
        """The configuration of a model with this shape and `vocabulary` tokens."""
        return LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=self.width,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=CONTEXT_LENGTH,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=1,
        )


RECIPES = {
    # 4.3 million parameters, 8.5 MB in bfloat16.
    EMBEDDED: ModelRecipe(layers=4, width=256, heads=4, feed_forward=704, vocabulary=4096),
    # 1.16 million parameters, 2.3 MB. Three layers, so that a projection between the two has depths to match.
    "embedded-small": ModelRecipe(
        layers=3, width=128, heads=4, feed_forward=384, vocabulary=4096, tokenizer_of=EMBEDDED
    ),
    # 0.98 million parameters, 2.0 MB.
    "embedded-1024": ModelRecipe(layers=4, width=128, heads=4, feed_forward=384, vocabulary=1024),
}
"""How each of `gossipllm.base.MODELS` is made, by its name."""

assert RECIPES.keys() == MODELS.keys(), "every embedded model has a recipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    model: str = EMBEDDED
    """The embedded model that is made, a name of `RECIPES`."""

    tokens: int
    """Total number of training tokens, at least those of one step; a window counts as often as it is drawn."""

    window_tokens: int = CONTEXT_LENGTH
    """Length of a window in tokens, > 0; at most the model's `max_position_embeddings`."""

    batch_windows: int = 32
    """Windows per step, > 0: 8,192 tokens. With so few tokens in total, more steps are worth more than less noisy
    ones. Guess."""

    micro_windows: int = 4
    """Windows per forward pass, > 0; divides `batch_windows`. Measured on two cores: 7,400 tokens/s with 4, 6,900 with
    8, and 5,200 with 32, whose logits leave the cache."""

    peak_rate: float = 3e-3
    """Learning rate at the end of the warm-up, > 0. Guess: small models tolerate large rates."""

    final_rate_share: float = 0.05
    """Learning rate of the last step as a share of the peak, in [0, 1]. Guess."""

    warm_up_share: float = 0.05
    """Share of the steps in which the learning rate rises, in [0, 1). Guess."""

    weight_decay: float = 0.1
    """Weight decay of AdamW, >= 0, applied to matrices and not to gains. As in GPT-3 (Brown et al. 2020,
    appendix B)."""

    clip_norm: float = 1.0
    """Norm to which larger gradients are scaled down, > 0. As in GPT-3."""

    bf16: bool = True
    """Multiply in bfloat16. Measured on a processor with avx512_bf16: 6,900 tokens/s against 5,000 in float32; slower
    on processors that only emulate it."""

    evaluate_every: int = 100
    """Steps between two points of the loss curve, > 0. The run is also saved at each point."""

    validation_windows: int = 128
    """Validation windows for a point of the loss curve, > 0. The last point uses all windows."""

    seed: int = 0
    """Seed of the initial weights and of the drawn windows, >= 0."""

    def __post_init__(self) -> None:
        if self.model not in RECIPES:
            raise ValueError(f"model must be one of {', '.join(RECIPES)}, got {self.model!r}")
        for name in ("window_tokens", "batch_windows", "micro_windows", "evaluate_every"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "> 0")
        _require(self.validation_windows > 0, "validation_windows", self.validation_windows, "> 0")
        divides = self.batch_windows % self.micro_windows == 0
        bound = f"a divisor of batch_windows={self.batch_windows}"
        _require(divides, "micro_windows", self.micro_windows, bound)
        enough = self.tokens >= self.tokens_a_step
        _require(enough, "tokens", self.tokens, f">= {self.tokens_a_step}, one step's")
        _require(self.peak_rate > 0, "peak_rate", self.peak_rate, "> 0")
        share = self.final_rate_share
        _require(0 <= share <= 1, "final_rate_share", share, "in [0, 1]")
        _require(0 <= self.warm_up_share < 1, "warm_up_share", self.warm_up_share, "in [0, 1)")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, ">= 0")
        _require(self.clip_norm > 0, "clip_norm", self.clip_norm, "> 0")
        _require(self.seed >= 0, "seed", self.seed, ">= 0")

    @property
    def tokens_a_step(self) -> int:
        return self.batch_windows * self.window_tokens

    @property
    def steps(self) -> int:
        return self.tokens // self.tokens_a_step


def rate(step: int, config: PretrainingConfig) -> float:
    """The learning rate of step `step`, counted from 0: linear warm-up to the peak, then half a cosine down to
    `final_rate_share` of the peak at the last step."""
    warm_up = max(1, round(config.warm_up_share * config.steps))
    if step < warm_up:
        return config.peak_rate * (step + 1) / warm_up
    share = (step - warm_up) / max(1, config.steps - 1 - warm_up)
    low = config.final_rate_share
    return config.peak_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def _require(holds: bool, name: str, value: float, bound: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {bound}, got {value}")
