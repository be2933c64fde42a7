"""A peer's own text as windows of tokens in three splits: train, trust, test.

Documents are tokenised, joined with the end-of-text token between them, and cut into windows of equal length. The
windows are shuffled once by the seed and dealt to the splits: train; trust, which decides whom to learn from; test,
which decides nothing and is only reported. All tokens of a conversation bear loss, including the questions.

Windows made of samples (`gossipllm.text.samples`) also hold tokens that bear no loss: the prompt before its target,
and padding. Such a token is stored as `~token`, below zero, so that ids and loss mask are one array and cannot get out
of step. Padding is at the right, where a causal model needs no attention mask for it.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import DataConfig
from gossipllm.randomness import permutation
from gossipllm.text.sources import read_documents
from trust.errors import UserMistake

Windows = NDArray[np.int32]
"""`(W, T)` token ids; a negative x stands for token `~x`, which bears no loss as a target."""

MIN_TRUST = MIN_TEST = 2
"""A standard error needs two windows."""


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """One peer's windows in three disjoint splits. `trust_WT` and `test_WT` hold all windows of their share; the
    learner uses the first so many."""

    train_WT: Windows
    trust_WT: Windows
    test_WT: Windows


def load_splits(config: DataConfig, tokenizer: Any, *, context_length: int, seed: int) -> Splits:
    """The peer's own text as windows. Raises `UserMistake` where there is too little text, or windows are longer than
    the model's `context_length`."""
    length = config.window_tokens
    if length > context_length:
        raise UserMistake(
            f"data.window_tokens is {length}, but the model takes at most {context_length} tokens"
        )
    windows_WT = cut(tokenise(read_documents(config.path, tokenizer), tokenizer), length)
    return split(windows_WT, config, seed=seed)


def split(windows_WT: Windows, config: DataConfig, *, seed: int) -> Splits:
    """Windows dealt to the three splits in an order that the seed gives.

    The trust and test splits get their fraction of the windows, rounded, and at least two. Raises `UserMistake` where
    no window is left to train on.
    """
    count, length = windows_WT.shape
    trust = max(MIN_TRUST, round(count * config.trust_fraction))
    test = max(MIN_TEST, round(count * config.test_fraction))
    if count < trust + test + 1:
        needed = (MIN_TRUST + MIN_TEST + 1) * length
        raise UserMistake(
            f"data.path: {config.path} gives {count} windows of {length} tokens; at least {needed} tokens of "
            f"text are needed (about {4 * needed} characters), or a smaller data.window_tokens"
        )
    dealt_WT = windows_WT[permutation("gossipllm/split/1", (seed,), count)]
    return Splits(dealt_WT[trust + test :], dealt_WT[:trust], dealt_WT[trust : trust + test])


def tokenise(documents: list[str], tokenizer: Any) -> NDArray[np.int32]:
    """The ids of all documents in one stream, each followed by the end-of-text token where the tokenizer has one."""
    return np.concatenate(tokenised(documents, tokenizer))


def tokenised(documents: list[str], tokenizer: Any) -> list[NDArray[np.int32]]:
    """The ids of each document, with the end-of-text token; `tokenise` joins them."""
    end: list[int] = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    streams: list[NDArray[np.int32]] = []
    # `verbose=False` keeps transformers from warning that a document is longer than the model can read: it is cut into
    # windows afterwards.
    for first in range(0, len(documents), 1024):
        ids = tokenizer(documents[first : first + 1024], add_special_tokens=False, verbose=False)["input_ids"]
        streams += [np.array(document + end, np.int32) for document in ids]
    return streams


def cut(stream: NDArray[np.int32], length: int) -> Windows:
    """`(W, length)`; the last, incomplete window is dropped."""
    count = len(stream) // length
    return stream[: count * length].reshape(count, length)


def decoded(windows: Windows) -> Windows:
    """The ids that a model reads, with and without loss."""
    return np.where(windows < 0, ~windows, windows)


def bearing(windows: Windows) -> NDArray[np.bool_]:
    """`(..., T-1)`: which targets bear loss. The first token of a window is never a target."""
    return windows[..., 1:] >= 0


def targets(windows: Windows) -> NDArray[np.int64]:
    """`(...)`: the number of targets that bear loss in each window."""
    return bearing(windows).sum(axis=-1, dtype=np.int64)
