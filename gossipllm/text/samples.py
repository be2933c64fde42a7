"""Samples: a prompt that bears no loss and a target that does, one sample to a window.

A sample is a 1-D array of ids in which the prompt stands as `~token` (`gossipllm.text.windows.Windows`). It begins with
the tokenizer's beginning-of-text token, where it has one, so that also the first token of a target without prompt bears
loss, and ends with the end-of-text token, which is part of the target: the model learns where to stop.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossipllm.text.dealing.categories import Tokens
from gossipllm.text.windows import Windows


@dataclass(frozen=True, slots=True)
class PromptTarget:
    """A prompt and the target that shall follow it. The blank between them is the target's first character."""

    prompt: str
    target: str


def encoded(pairs: Sequence[PromptTarget], tokenizer: Any, *, end: bool = True) -> tuple[Tokens, ...]:
    """The sample of each pair, uncut. Without `end` no end-of-text token follows, for answers whose likelihoods are
    compared.

    Prompt and target are tokenised separately, as they are when a target is generated: tokenised together, a token
    could span the border.
    """
    prompts = encoded_prompts([pair.prompt for pair in pairs], tokenizer)
    ids = _token_ids([pair.target for pair in pairs], tokenizer)
    behind: list[int] = [tokenizer.eos_token_id] if end and tokenizer.eos_token_id is not None else []
    return tuple(
        np.concatenate([~prompt, np.array(target + behind, np.int32)])
        for prompt, target in zip(prompts, ids, strict=True)
    )


def encoded_prompts(prompts: Sequence[str], tokenizer: Any) -> list[Tokens]:
    """The ids before each target, uncut, and not yet stored as `~token`."""
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    before: list[int] = [] if begin is None else [begin]
    return [np.array(before + prompt, np.int32) for prompt in _token_ids(prompts, tokenizer)]


def fitted(sample: Tokens, longest: int) -> Tokens:
    """The sample cut to `longest` tokens: the prompt from its left, down to one token; then the target from its
    right."""
    if longest < 2:
        raise ValueError(f"longest must be at least 2, got {longest}")
    prompt = int((sample < 0).sum())
    kept = max(min(prompt, 1), longest - (len(sample) - prompt))
    return sample[max(0, prompt - kept) :][:longest]


def padded(samples: Sequence[Tokens], *, length: int, pad: int) -> Windows:
    """`(W, length)`: the samples, padded at the right with `~pad`. No sample may be longer."""
    windows_WT = np.full((len(samples), length), ~pad, np.int32)
    for window_T, one in zip(windows_WT, samples, strict=True):
        window_T[: len(one)] = one
    return windows_WT


def padding_id(tokenizer: Any) -> int:
    """The id that windows are padded with: the end-of-text token, because some tokenizers have a padding token that
    lies outside their model's vocabulary."""
    return 0 if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)


def _token_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    # `verbose=False` keeps transformers from warning that a text is longer than the model can read.
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
