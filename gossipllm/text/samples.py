"""Samples: a context that bears no loss and a target that does, one to a window.

A sample is a 1-D array of ids in which context stands as `~token` (`gossipllm.text.windows.Windows`). It begins with
the tokenizer's mark for the beginning of a text, where it has one, so that a target without context loses nothing, and
ends with the end-of-text token, which is part of the target: a model that generates learns where to stop.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossipllm.text.categories import Tokens
from gossipllm.text.windows import Windows


@dataclass(frozen=True, slots=True)
class PromptTarget:
    """What is given, and what shall follow it. The blank between them is the target's first character."""

    context: str
    target: str


def encoded(pairs: Sequence[PromptTarget], tokenizer: Any, *, end: bool = True) -> tuple[Tokens, ...]:
    """A sample of each pair, uncut. Without `end` the target does not end the text, as an answer among others to be
    compared.

    Context and target are tokenised apart, as they are when a target is generated.
    """
    contexts = encoded_contexts([pair.context for pair in pairs], tokenizer)
    ids = _token_ids([pair.target for pair in pairs], tokenizer)
    behind: list[int] = [tokenizer.eos_token_id] if end and tokenizer.eos_token_id is not None else []
    return tuple(
        np.concatenate([~context, np.array(target + behind, np.int32)])
        for context, target in zip(contexts, ids, strict=True)
    )


def encoded_contexts(contexts: Sequence[str], tokenizer: Any) -> list[Tokens]:
    """The ids before each target, none of them marked, uncut."""
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    before: list[int] = [] if begin is None else [begin]
    return [np.array(before + context, np.int32) for context in _token_ids(contexts, tokenizer)]


def fitted(sample: Tokens, longest: int) -> Tokens:
    """Cut to `longest` tokens: the context from its left, down to one token; then the target from its right."""
    if longest < 2:
        raise ValueError(f"longest must be at least 2, got {longest}")
    context = int((sample < 0).sum())
    kept = max(min(context, 1), longest - (len(sample) - context))
    return sample[max(0, context - kept) :][:longest]


def padded(samples: Sequence[Tokens], *, length: int, pad: int) -> Windows:
    """`(W, length)`: filled up at the right with `~pad`. No sample may be longer."""
    windows_WT = np.full((len(samples), length), ~pad, np.int32)
    for window_T, one in zip(windows_WT, samples, strict=True):
        window_T[: len(one)] = one
    return windows_WT


def padding_id(tokenizer: Any) -> int:
    """What windows are filled up with: not the tokenizer's token for that, which some models' vocabularies lack."""
    return 0 if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)


def _token_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    # `verbose=False` keeps transformers from warning that a text is longer than the context.
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
