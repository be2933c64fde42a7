"""How likely a model holds what was to be written: perplexity, bits a byte, and the likelier of several answers.

Axes: B samples of a batch, T tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch

from gossipllm.learning.passes.losses import token_losses, tokens_and_mask, window_losses
from gossipllm.model.loading.models import Base
from gossipllm.tasks.examples import Choose, choice_pairs
from gossipllm.text.categories import Tokens
from gossipllm.text.samples import encoded, fitted, padded, padding_id

_LOGITS_AT_ONCE: Final = 2**25
"""Logits of a pass: 128 MB as float32. Guess."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Nats over so many tokens, which encode so many bytes of UTF-8. The end of a text is a token of no bytes."""

    nats: float
    tokens: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """Depends on the tokenizer; infinite where no float holds it."""
        return math.exp(self.nats / self.tokens) if self.nats / self.tokens < 700 else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers."""
        return self.nats / math.log(2) / self.bytes


def sample_nats(base: Base, samples: Sequence[Tokens], done: Callable[[int], None]) -> list[float]:
    """The loss of each sample, summed over the tokens that bear it; inf or nan where the model gives that.

    No sample may be longer than the model's context. `done` is told how many more are finished.
    """
    nats = [0.0] * len(samples)
    order = sorted(range(len(samples)), key=lambda index: -len(samples[index]))
    while order:
        at_once = max(1, _LOGITS_AT_ONCE // (len(samples[order[0]]) * base.vocabulary))
        members, order = order[:at_once], order[at_once:]
        sums = _sums(base, [samples[index] for index in members])
        for index, total in zip(members, sums, strict=True):
            nats[index] = total
        done(len(members))
    return nats


def overlapping(stream: Tokens, length: int) -> tuple[Tokens, ...]:
    """Pieces of at most `length` tokens, each beginning with the last token of the one before: as samples they bear the
    loss of every token but the first exactly once."""
    return tuple(stream[first : first + length] for first in range(0, len(stream) - 1, length - 1))


def choices_made(
    base: Base, examples: Sequence[Choose], done: Callable[[int], None]
) -> list[tuple[int, int]]:
    """The likeliest choice of each example: by the whole answer, and by the byte of it, which does not favour short
    ones. `done` is told of choices."""
    pairs = [pair for one in examples for pair in choice_pairs(one)]
    samples = [fitted(one, base.context) for one in encoded(pairs, base.tokenizer, end=False)]
    nats = iter(sample_nats(base, samples, done))
    chosen: list[tuple[int, int]] = []
    for one in examples:
        whole = np.array([next(nats) for _ in one.choices])
        sizes = np.array([len(choice.encode()) for choice in one.choices])
        chosen.append((int(whole.argmin()), int((whole / sizes).argmin())))
    return chosen


@torch.inference_mode()
def _sums(base: Base, samples: Sequence[Tokens]) -> list[float]:
    length = max(2, *(len(one) for one in samples))
    windows_BT = padded(samples, length=length, pad=padding_id(base.tokenizer))
    tokens_BT, bears_BU = tokens_and_mask(windows_BT, base.device)
    logits_BTV: torch.Tensor = cast("Any", base.model)(input_ids=tokens_BT, use_cache=False).logits
    sums_B, _ = window_losses(token_losses(logits_BTV, tokens_BT), bears_BU)
    return [float(total) for total in sums_B]
