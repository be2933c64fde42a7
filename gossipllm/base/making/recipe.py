"""The recipe of the base model: its shape, its budget and its learning rate over time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transformers import LlamaConfig

CONTEXT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    tokens: int
    """Training tokens in all, at least one step's; a window counts as often as it is drawn."""

    context: int = CONTEXT
    """Tokens a window; at most the model's `max_position_embeddings`."""

    batch_windows: int = 32
    """Windows a step, 8,192 tokens. With so few tokens in all, more steps are worth more than
    smoother ones. Guess."""

    micro_windows: int = 4
    """Windows a forward pass; divides `batch_windows`. Measured on two cores: 7,400 tokens/s with
    4, 6,900 with 8, 5,200 with 32, whose logits leave the cache."""

    peak_rate: float = 3e-3
    """Learning rate at the end of the warm-up, > 0. Guess: small models bear large rates."""

    final_rate_share: float = 0.05
    """The last step's share of the peak, in [0, 1]. Guess."""

    warm_up_share: float = 0.05
    """Share of the steps that the rate rises for, in [0, 1). Guess."""

    weight_decay: float = 0.1
    """AdamW's, on matrices and not on gains, >= 0. As in GPT-3 (Brown et al. 2020, appendix B)."""

    clip_norm: float = 1.0
    """Largest gradient norm, > 0. As in GPT-3."""

    bf16: bool = True
    """Multiply in bfloat16. Measured on a processor with avx512_bf16: 6,900 tokens/s against 5,000
    in float32; slower where the processor only emulates it."""

    evaluate_every: int = 100
    """Steps between points of the curve, at which the run is also saved, > 0."""

    validation_windows: int = 128
    """Windows of a point of the curve, > 0; the last point takes all there are."""

    seed: int = 0
    """Of the initial weights and of the order of the windows, >= 0."""

    def __post_init__(self) -> None:
        for name in ("context", "batch_windows", "micro_windows", "evaluate_every"):
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
        return self.batch_windows * self.context

    @property
    def steps(self) -> int:
        return self.tokens // self.tokens_a_step


def base_config(vocabulary: int) -> LlamaConfig:
    """4.3 million parameters with a vocabulary of 4,096: 8.5 MB in bfloat16."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )


def rate(step: int, config: PretrainingConfig) -> float:
    """Learning rate of a step, counted from 0: linear warm-up, then half a cosine.

    The peak is reached at the end of the warm-up, `final_rate_share` of it at the last step.
    """
    warm_up = max(1, round(config.warm_up_share * config.steps))
    if step < warm_up:
        return config.peak_rate * (step + 1) / warm_up
    share = (step - warm_up) / max(1, config.steps - 1 - warm_up)
    low = config.final_rate_share
    return config.peak_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def _require(holds: bool, name: str, value: float, bound: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {bound}, got {value}")
