"""Likelihood of given text under a model: perplexity, bits per byte, and the likeliest of several answers.

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
from gossipllm.tasks.examples import Choose, choice_targets
from gossipllm.text.dealing.categories import Tokens
from gossipllm.text.samples import encoded, fitted, padded, padding_id

_LOGITS_AT_ONCE: Final = 2**25
"""Most logits of one pass: 128 MB in float32. Guess."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The loss in nats of a text, and its length in tokens and in bytes of UTF-8. The end-of-text token has no
    bytes."""

    nats: float
    tokens: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """exp of the nats per token, which depends on the tokenizer; infinite where a float cannot hold it."""
        return math.exp(self.nats / self.tokens) if self.nats / self.tokens < 700 else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Loss per byte of text, comparable between models with different tokenizers."""
        return self.nats / math.log(2) / self.bytes


def sample_nats(base: Base, samples: Sequence[Tokens], done: Callable[[int], None]) -> list[float]:
    """The loss of each sample, summed over the tokens that bear loss; inf or nan where the model's logits are.

    No sample may be longer than the model's context length. `done` is told how many more samples are finished.
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
    """Pieces of at most `length` tokens, each beginning with the last token of the piece before. The first token of a
    sample bears no loss, so every token of the stream but the first does exactly once."""
    return tuple(stream[first : first + length] for first in range(0, len(stream) - 1, length - 1))


def choices_made(
    base: Base, examples: Sequence[Choose], done: Callable[[int], None]
) -> list[tuple[int, int]]:
    """The likeliest choice of each example: by the loss of the whole answer, and by its loss per byte, which does not
    favour short answers. `done` is told how many more choices are finished."""
    pairs = [pair for one in examples for pair in choice_targets(one)]
    samples = [fitted(one, base.context_length) for one in encoded(pairs, base.tokenizer, end=False)]
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
