"""Text to windows of tokens: a peer's own three splits, and the public reference set.

Documents are tokenised, joined with the end-of-text token between them, and cut into windows of equal
length, which are shuffled once by the seed and dealt to three splits: train; trust (decides whom to
listen to); test (decides nothing). All tokens of a conversation bear loss, the questions too.

Windows made of samples (`gossipllm.text.samples`) hold tokens that bear no loss: a question before its answer, and
what fills a short window up. Such an entry is `~token`, below zero. Filling stands at the right, where a causal model
needs no mask for it.

Of the embedded texts only the last tenth serves as reference, so that demonstrations can train on the rest.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gossipllm import base as embedded
from gossipllm.config import EMBEDDED, DataConfig, ReferenceConfig
from gossipllm.randomness import permutation
from gossipllm.text.sources import read_documents, read_text
from trust.errors import UserMistake
from wire.digest import fingerprint_of
from wire.logits import RowsShape

Windows = NDArray[np.int32]
"""`(W, T)` token ids; a negative entry x stands for token `~x`, which bears no loss as a target."""

MIN_TRUST = MIN_TEST = 2
"""A standard error needs two windows."""
_DEMO_BLOCK: Final = 2_000
"""Characters dealt to one demonstration peer at a time: some ten paragraphs. Guess."""


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Disjoint windows. `trust` and `test` hold all of their shares; use the first so many."""

    train_WT: Windows
    trust_WT: Windows
    test_WT: Windows


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """Public windows on which all peers predict, the shape of a prediction, and the name of both."""

    windows_WT: Windows
    shape: RowsShape
    fingerprint: bytes


def load_splits(config: DataConfig, tokenizer: Any, *, context: int, seed: int) -> Splits:
    """The peer's own text as windows. Raises `UserMistake` where there is too little."""
    length = config.window_tokens
    if length > context:
        raise UserMistake(f"data.window_tokens is {length}, but the model takes at most {context} tokens")
    windows_WT = cut(tokenise(read_documents(config.path, tokenizer), tokenizer), length)
    return split(windows_WT, config, seed=seed)


def split(windows_WT: Windows, config: DataConfig, *, seed: int) -> Splits:
    """Deal the windows by the seed. The fractions are of the windows, rounded, and never below two."""
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
    """One stream of ids, the end-of-text token behind each document where the tokenizer has one."""
    return np.concatenate(tokenised(documents, tokenizer))


def tokenised(documents: list[str], tokenizer: Any) -> list[NDArray[np.int32]]:
    """The ids of each document, as `tokenise` strings them together."""
    end: list[int] = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    streams: list[NDArray[np.int32]] = []
    # `verbose=False` keeps transformers from warning that a document is longer than the context.
    for first in range(0, len(documents), 1024):
        ids = tokenizer(documents[first : first + 1024], add_special_tokens=False, verbose=False)["input_ids"]
        streams += [np.array(document + end, np.int32) for document in ids]
    return streams


def cut(stream: NDArray[np.int32], length: int) -> Windows:
    """`(W, length)`; the last, incomplete window is dropped."""
    count = len(stream) // length
    return stream[: count * length].reshape(count, length)


def decoded(windows: Windows) -> Windows:
    """The ids that a model reads, whether they bear loss or not."""
    return np.where(windows < 0, ~windows, windows)


def bearing(windows: Windows) -> NDArray[np.bool_]:
    """`(..., T-1)`: which targets bear loss. The first entry of a window is nobody's target."""
    return windows[..., 1:] >= 0


def targets(windows: Windows) -> NDArray[np.int64]:
    """`(...)`: how many targets of each window bear loss."""
    return bearing(windows).sum(axis=-1, dtype=np.int64)


def load_reference(config: ReferenceConfig, tokenizer: Any, *, context: int, vocabulary: int) -> ReferenceSet:
    """The reference set: the same for all peers that share configuration, tokenizer and model."""
    length = config.window_tokens
    if length > context:
        raise UserMistake(
            f"reference.window_tokens is {length}, but the model takes at most {context} tokens"
        )
    if config.top > vocabulary:
        raise UserMistake(f"reference.top is {config.top}, but the model has only {vocabulary} tokens")
    texts = _reference_texts(config)
    chosen: list[Windows] = []
    for i, (name, text) in enumerate(texts.items()):
        count = config.windows // len(texts) + (i < config.windows % len(texts))
        chosen.append(_chosen(name, text, count, config, tokenizer))
    windows_WT = np.concatenate(chosen)
    last = config.positions == "last"
    rows = len(windows_WT) * (1 if last else length - 1)
    shape = RowsShape(rows, config.top, vocabulary, raw=last)
    numbers = (*windows_WT.shape, shape.top, vocabulary, *(("last",) if last else ()))
    parts = (",".join(map(str, numbers)).encode(), windows_WT.astype("<u4").tobytes())
    return ReferenceSet(windows_WT, shape, fingerprint_of("gossipllm/reference/1", parts))


def demo_share(name: str, *, part: int, of: int) -> str:
    """Part `part` of `of` of an embedded text, for demonstrations: disjoint from the other parts and
    from the reference set. Blocks of whole lines are dealt in turn, so that the parts are alike."""
    if not 0 <= part < of:
        raise ValueError(f"part must be in 0..{of - 1}, got {part}")
    blocks: list[list[str]] = [[]]
    size = 0
    for line in _demo_lines(name):
        blocks[-1].append(line)
        size += len(line) + 1
        if size >= _DEMO_BLOCK:
            blocks.append([])
            size = 0
    return "".join(line + "\n" for block in blocks[part::of] for line in block)


def _reference_texts(config: ReferenceConfig) -> dict[str, str]:
    if config.source == EMBEDDED:
        return {name: "\n".join(_reference_lines(name)) for name in embedded.CORPORA}
    path = Path(config.source).expanduser()
    if path.suffix != ".txt" or not path.is_file():
        raise UserMistake(f'reference.source: {config.source} is neither "embedded" nor a .txt file')
    # The file's name is the peer's own matter: peers that hold the same text must draw alike.
    return {"file": read_text(path, "reference.source")}


def _chosen(name: str, text: str, count: int, config: ReferenceConfig, tokenizer: Any) -> Windows:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserMistake(f"reference.source: {config.source} holds no text")
    windows_WT = cut(tokenise(lines, tokenizer), config.window_tokens)
    if len(windows_WT) < count:
        raise UserMistake(
            f"reference.windows: {config.source} ({name}) gives {len(windows_WT)} windows of "
            f"{config.window_tokens} tokens, {count} are wanted"
        )
    order = permutation("gossipllm/reference/1", (config.seed, name), len(windows_WT))
    return windows_WT[order[:count]]


def _demo_lines(name: str) -> list[str]:
    lines, border = _lines_and_border(name)
    return lines[:border]


def _reference_lines(name: str) -> list[str]:
    lines, border = _lines_and_border(name)
    return lines[border:]


def _lines_and_border(name: str) -> tuple[list[str], int]:
    """The text's lines, and the index of the first one behind nine tenths of its characters."""
    lines = embedded.corpus_file(name).read_text(encoding="utf-8").splitlines()
    ends = list(accumulate(len(line) + 1 for line in lines))
    return lines, bisect_right(ends, 0.9 * ends[-1])
