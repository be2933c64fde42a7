"""Public text beside a peer's own: what a peer wants to read besides, to decide by and to train on.

A peer judges merges and distilling by its own text alone, so it learns nothing that its own text does not ask for: one
that reads English refuses French, even where it costs it no English. `DataConfig.trust_public` makes public text a part
of its trust split, so that what helps there counts, and `train_public` a part of what local steps read.

The text is that of the reference set (`gossipllm.text.reference`), without the stretches on which peers predict, cut
into windows of the peer's own length. Windows are drawn by the network's public seed, the same number of each text. The
first ones decide, the others are trained on, so none does both.

What is trained on may have to be like the own text (`DataConfig.public_like`): the windows that do not decide are then
taken in the order of the mean log-frequency of their tokens in the own training text, most frequent first.

Axes: W windows, T tokens of a window, V tokens of a vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gossipllm.config import DataConfig, ReferenceConfig
from gossipllm.randomness import permutation
from gossipllm.text.in_bytes.windows import byte_windows
from gossipllm.text.reference import reference_texts
from gossipllm.text.tokens import plain_ids
from gossipllm.text.windows import Splits, Windows, cut
from trust.errors import UserMistake


def with_public_text(
    splits: Splits, config: DataConfig, reference: ReferenceConfig, *, read: Sequence[bytes], tokenizer: Any
) -> Splits:
    """The splits with the public text that the configuration asks for. `read` are the windows of the reference set.

    Raises `UserMistake` where the reference set is counted in tokens, or its text gives too few windows to decide by.
    """
    if not config.trust_public and not config.train_public:
        return splits
    if not reference.by_bytes:
        raise UserMistake(
            "data.trust_public and data.train_public need a reference set counted in bytes: set reference.window_bytes"
        )
    deciding = config.public_trust_windows
    asked = config.train_public / (1 - config.train_public) * len(splits.train_WT)
    public_WT = _windows(reference, read, tokenizer, config.window_tokens)
    if len(public_WT) < deciding:
        raise UserMistake(
            f"data.trust_public: {reference.source} gives {len(public_WT)} windows of {config.window_tokens} tokens "
            f"besides the reference set, {deciding} are wanted"
        )
    own = splits.trust_WT[: config.trust_windows - deciding]
    other_WT = public_WT[deciding:]
    if config.public_like == "own":
        other_WT = _most_like(other_WT, splits.train_WT)
    trained_WT = other_WT[: round(asked)]
    return replace(
        splits,
        trust_WT=np.concatenate([own, public_WT[:deciding]]),
        train_WT=np.concatenate([splits.train_WT, trained_WT]),
    )


def _windows(reference: ReferenceConfig, read: Sequence[bytes], tokenizer: Any, length: int) -> Windows:
    """All windows, one of each text in turn as long as they last."""
    taken = frozenset(read)
    drawn: list[tuple[int, Windows]] = []
    for name, text in reference_texts(reference).items():
        lines = list(_lines(byte_windows(text, reference.window_bytes), taken))
        found_WT = cut(
            np.array([one for ids in plain_ids(lines, tokenizer) for one in ids], np.int32), length
        )
        order = permutation("gossipllm/public/1", (reference.seed, name), len(found_WT))
        drawn += [(place, found_WT[index]) for place, index in enumerate(order)]
    drawn.sort(key=lambda one: one[0])
    return np.array([window_T for _, window_T in drawn], np.int32).reshape(-1, length)


def _most_like(windows_WT: Windows, own_WT: Windows) -> Windows:
    """The windows, those first whose tokens are frequent in the own text. A token that is not in it counts as half of
    one."""
    ids_WT, own = _ids(windows_WT), _ids(own_WT)
    vocabulary = 1 + max(int(one.max(initial=0)) for one in (ids_WT, own))
    counts_V = np.maximum(np.bincount(own.ravel(), minlength=vocabulary), 0.5)
    return windows_WT[np.argsort(-np.log(counts_V)[ids_WT].mean(axis=1), kind="stable")]


def _ids(windows_WT: Windows) -> Windows:
    """The tokens, whether they bear loss or not."""
    return np.where(windows_WT < 0, ~windows_WT, windows_WT)


def _lines(windows: Sequence[bytes], taken: frozenset[bytes]) -> Iterator[str]:
    """The text of the windows that are not taken; those that follow each other inside of a line are one text."""
    line = b""
    for one in windows:
        if one in taken:
            continue
        if line and not one.startswith(b" "):
            yield line.decode() + "\n"
            line = b""
        line += one
    if line:
        yield line.decode() + "\n"
