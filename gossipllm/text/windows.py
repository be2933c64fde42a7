"""A peer's own text as windows of tokens in three splits: train, trust, test.

The tokens of all documents are joined and cut into windows of equal length, so that a window may hold several documents
or a part of one, and its tokens see what stands before them in the window, also where that is another document. The
windows are shuffled once by the seed and dealt to the splits: train; trust, which decides whom to learn from; test,
which decides nothing and is only reported.

A token that bears no loss is stored as `~token`, below zero, so that ids and loss mask are one array and cannot get out
of step: questions of conversations (`DataConfig.loss`), the beginning-of-text token, the prompt and padding in windows
made of samples (`gossipllm.text.samples`), and padding in the reference set's (`gossipllm.text.in_bytes.windows`).
Padding is at the right, where a causal model needs no attention mask for it. A window without any loss is left out.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gossipllm.config import DataConfig
from gossipllm.randomness import permutation
from gossipllm.text.reading.account import TextAccount, WindowCounts, shown
from gossipllm.text.reading.corpus import Document, TextReader
from gossipllm.text.tokens import document_tokens, tokenised
from trust.errors import UserMistake

Windows = NDArray[np.int32]
"""`(W, T)` token ids; a negative x stands for token `~x`, which bears no loss as a target."""

MIN_TRUST = MIN_TEST = 2
"""A standard error needs two windows."""


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """One peer's windows in three disjoint splits. `trust_WT` and `test_WT` hold all windows of their share; the
    learner uses the first so many. `account` says what they were made of, where they were read from files."""

    train_WT: Windows
    trust_WT: Windows
    test_WT: Windows
    account: TextAccount | None = None


def load_splits(config: DataConfig, tokenizer: Any, *, context_length: int, seed: int) -> Splits:
    """The peer's own text as windows. Raises `UserMistake` where there is too little text, or windows are longer than
    the model's `context_length`."""
    check_length(config, context_length)
    reader = reader_of(config, tokenizer)
    documents = list(document_tokens(list(reader.documents()), tokenizer))
    windows_WT, account = accounted(documents, reader.account, config.window_tokens)
    return counted(split(windows_WT, config, seed=seed), account)


def check_length(config: DataConfig, context_length: int) -> None:
    """Raises `UserMistake` where windows are longer than the model's context."""
    length = config.window_tokens
    if length > context_length:
        raise UserMistake(
            f"data.window_tokens is {length}, but the model takes at most {context_length} tokens"
        )


def reader_of(config: DataConfig, tokenizer: Any) -> TextReader:
    """The reader of a peer's own text. Raises `UserMistake` where there is no such file or folder."""
    return TextReader(config.path, tokenizer, encoding=config.encoding, loss=config.loss)


def accounted(
    documents: Sequence[NDArray[np.int32]], account: TextAccount, length: int
) -> tuple[Windows, TextAccount]:
    """The windows of documents, those without loss left out, and the account with what became of the tokens."""
    stream = np.concatenate(documents)
    cut_WT = cut(stream, length)
    windows_WT = cut_WT[targets(cut_WT) > 0]
    counts = WindowCounts(
        length=length,
        longer=sum(len(document) > length for document in documents),
        silent=len(cut_WT) - len(windows_WT),
        rest=len(stream) - cut_WT.size,
    )
    bearing_tokens = int((stream >= 0).sum())
    return windows_WT, replace(account, tokens=len(stream), bearing=bearing_tokens, windows=counts)


def sizes(count: int, config: DataConfig) -> tuple[int, int]:
    """How many of `count` windows are for trust and for the test: their fractions, rounded, and at least two.

    Raises `UserMistake` where no window is left to train on.
    """
    trust = max(MIN_TRUST, round(count * config.trust_fraction))
    test = max(MIN_TEST, round(count * config.test_fraction))
    if count < trust + test + 1:
        length = config.window_tokens
        needed = (MIN_TRUST + MIN_TEST + 1) * length
        raise UserMistake(
            f"data.path: {shown(config.path)} gives {count} windows of {length} tokens; at least {needed} tokens of "
            f"text are needed (about {4 * needed} characters), or a smaller data.window_tokens"
        )
    return trust, test


def counted(splits: Splits, account: TextAccount) -> Splits:
    """The splits with this account of their text, to which their sizes are added."""
    before = account.windows or WindowCounts(length=splits.train_WT.shape[1])
    sizes_of = {"train": len(splits.train_WT), "trust": len(splits.trust_WT), "test": len(splits.test_WT)}
    return replace(splits, account=replace(account, windows=replace(before, **sizes_of)))


def dealt(account: TextAccount, config: DataConfig, count: int) -> TextAccount:
    """The account with the sizes of the splits of `count` windows. Raises `UserMistake` as `sizes` does."""
    trust, test = sizes(count, config)
    before = account.windows or WindowCounts(length=config.window_tokens)
    return replace(account, windows=replace(before, train=count - trust - test, trust=trust, test=test))


def split(windows_WT: Windows, config: DataConfig, *, seed: int) -> Splits:
    """Windows dealt to the three splits in an order that the seed gives.

    Raises `UserMistake` where no window is left to train on.
    """
    trust, test = sizes(len(windows_WT), config)
    dealt_WT = windows_WT[permutation("gossipllm/split/1", (seed,), len(windows_WT))]
    return Splits(dealt_WT[trust + test :], dealt_WT[:trust], dealt_WT[trust : trust + test])


def tokenise(documents: Sequence[str | Document], tokenizer: Any) -> NDArray[np.int32]:
    """The ids of all documents in one stream, each with its beginning and end (`gossipllm.text.tokens`)."""
    return np.concatenate(tokenised(documents, tokenizer))


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


def rows_of(windows: Windows, chosen_I: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of these windows in predictions of all: a window has one for each target that bears loss."""
    counts: list[int] = targets(windows).tolist()
    ends = list(accumulate(counts))
    chosen: list[int] = chosen_I.tolist()
    rows = [row for window in chosen for row in range(ends[window] - counts[window], ends[window])]
    return np.array(rows, np.int64)
