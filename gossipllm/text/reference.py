"""The public reference set, and the embedded text that demonstrations train on.

All peers of a network predict on the same reference windows, so that their predictions can be compared. Of the embedded
texts the last tenth is reference text; demonstrations train on the other nine tenths.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import numpy as np

from gossipllm import base as embedded
from gossipllm.config import EMBEDDED, ReferenceConfig
from gossipllm.randomness import permutation
from gossipllm.text.reading.contents import read_text
from gossipllm.text.tokens import check_vocabulary
from gossipllm.text.windows import Windows, cut, tokenise
from trust.errors import UserMistake
from wire.digest import fingerprint_of
from wire.logits import RowsShape

_DEMO_BLOCK: Final = 2_000
"""Characters of an embedded text that are dealt to a demonstration peer at a time: some ten paragraphs. Guess."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """Public windows on which all peers predict, the shape of such a prediction, and the fingerprint of both."""

    windows_WT: Windows
    shape: RowsShape
    fingerprint: bytes


def load_reference(
    config: ReferenceConfig, tokenizer: Any, *, context_length: int, vocabulary: int
) -> ReferenceSet:
    """The reference set: the same for all peers that share configuration, tokenizer and model.

    Raises `UserMistake` where the text is too short or the configuration asks for more than the model has.
    """
    length = config.window_tokens
    if length > context_length:
        raise UserMistake(
            f"reference.window_tokens is {length}, but the model takes at most {context_length} tokens"
        )
    if config.top > vocabulary:
        raise UserMistake(f"reference.top is {config.top}, but the model has only {vocabulary} tokens")
    texts = reference_texts(config)
    chosen: list[Windows] = []
    for i, (name, text) in enumerate(texts.items()):
        count = config.windows // len(texts) + (i < config.windows % len(texts))
        chosen.append(_chosen(name, text, count, config, tokenizer))
    windows_WT = np.concatenate(chosen)
    check_vocabulary([windows_WT], vocabulary, "reference.source")
    last = config.positions == "last"
    rows = len(windows_WT) * (1 if last else length - 1)
    shape = RowsShape(rows, config.top, vocabulary, raw=last)
    numbers = (*windows_WT.shape, shape.top, vocabulary, *(("last",) if last else ()))
    parts = (",".join(map(str, numbers)).encode(), windows_WT.astype("<u4").tobytes())
    return ReferenceSet(windows_WT, shape, fingerprint_of("gossipllm/reference/1", parts))


def demo_share(name: str, *, part: int, of: int) -> str:
    """Part `part` of `of` parts of an embedded text, for demonstrations and simulations.

    Disjoint from the other parts and from the reference set. Blocks of whole lines are dealt to the parts in turn, so
    that all parts are about the same subjects.
    """
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


def reference_texts(config: ReferenceConfig) -> dict[str, str]:
    """Name -> public text of which the reference set takes windows. Raises `UserMistake` for a file that is no text."""
    if config.source == EMBEDDED:
        return {name: "\n".join(_reference_lines(name)) for name in embedded.CORPORA}
    path = Path(config.source).expanduser()
    if path.suffix != ".txt" or not path.is_file():
        raise UserMistake(f'reference.source: {config.source} is neither "embedded" nor a .txt file')
    # Not the file's name, which enters the draw of windows: peers may store the same text under different names.
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
    """The text's lines, and the index of the first line after nine tenths of its characters."""
    lines = embedded.corpus_file(name).read_text(encoding="utf-8").splitlines()
    ends = list(accumulate(len(line) + 1 for line in lines))
    return lines, bisect_right(ends, 0.9 * ends[-1])
