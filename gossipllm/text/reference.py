"""The public reference set, and the embedded text that demonstrations train on.

All peers of a network predict on the same reference windows, so that their predictions can be compared. Windows are
stretches of bytes of a public text, so that peers with different tokenizers share them; each tokenizer cuts them into
its own tokens (`in_bytes/windows.py`). Networks that reproduce published work count windows in tokens, of one
tokenizer. Of the embedded texts the last tenth is reference text; demonstrations train on the other nine tenths.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gossipllm import base as embedded
from gossipllm.config import EMBEDDED, ReferenceConfig
from gossipllm.randomness import permutation
from gossipllm.text.in_bytes.positions import byte_shape
from gossipllm.text.in_bytes.reference import ByteReference, byte_reference
from gossipllm.text.in_bytes.windows import byte_windows, token_windows
from gossipllm.text.reading.contents import read_text
from gossipllm.text.tokens import check_vocabulary
from gossipllm.text.windows import Windows, cut, targets, tokenise
from trust.errors import UserMistake
from wire.digest import fingerprint_of
from wire.predictions.byte_rows import ByteShape
from wire.predictions.logits import MAX_CODED, RowsShape

_DEMO_BLOCK: Final = 2_000
"""Characters of an embedded text that are dealt to a demonstration peer at a time: some ten paragraphs. Guess."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """Public windows on which all peers predict, the shape of such a prediction, and the fingerprint of the set.

    A window has a row for each token that bears loss (`gossipllm.text.windows.rows_of`), or with raw logits one row.
    `byte_shape` is that of byte rows, None where windows are counted in tokens, and where there are too many for a
    blob. `in_bytes` is None where there is no such shape or the tokenizer has no byte rows; `no_byte_rows` says why.
    """

    windows_WT: Windows
    shape: RowsShape
    fingerprint: bytes
    texts: tuple[bytes, ...] = ()
    """The windows as bytes; none where they are counted in tokens."""
    byte_shape: ByteShape | None = None
    in_bytes: ByteReference | None = None
    no_byte_rows: str = "the reference set is counted in tokens"

    @property
    def even_WT(self) -> Windows:
        """The windows cut to the tokens that all of them have, for computations that know no mask."""
        return self.windows_WT[:, (self.windows_WT >= 0).all(axis=0)]


def load_reference(
    config: ReferenceConfig, tokenizer: Any, *, context_length: int, vocabulary: int
) -> ReferenceSet:
    """The reference set. Of windows of bytes, the fingerprint is the same for all peers that share the configuration
    and the text, the windows and the shape for those that share the tokenizer too. Of windows of tokens, all of these
    are the same for peers that share configuration, text, tokenizer and vocabulary.

    Raises `UserMistake` where the text is too short or the configuration asks for more than the model has.
    """
    if config.by_bytes:
        # A model may have more outputs than its tokenizer has tokens; peers with one tokenizer need one shape.
        vocabulary = min(vocabulary, 1 + max(tokenizer.get_vocab().values()))
    if config.top > vocabulary:
        raise UserMistake(f"reference.top is {config.top}, but the model has only {vocabulary} tokens")
    make = _of_bytes if config.by_bytes else _of_tokens
    reference = make(config, tokenizer, vocabulary)
    check_vocabulary([reference.windows_WT], vocabulary, "reference.source")
    length = reference.windows_WT.shape[1]
    if length > context_length:
        key = "window_bytes" if config.by_bytes else "window_tokens"
        made = f", of which the tokenizer makes up to {length} tokens" if config.by_bytes else ""
        raise UserMistake(
            f"reference.{key} is {getattr(config, key)}{made}, but the model takes at most {context_length} tokens"
        )
    return reference


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


def _of_bytes(config: ReferenceConfig, tokenizer: Any, vocabulary: int) -> ReferenceSet:
    size = config.window_bytes
    chosen: list[bytes] = []
    for name, text, count in _shares(config):
        windows = byte_windows(text, size)
        chosen += [windows[index] for index in _draw(name, len(windows), count, config, f"{size} bytes")]
    windows_WT = token_windows(chosen, tokenizer)
    rows = int(targets(windows_WT).sum())
    if not rows:
        raise UserMistake(
            f"reference.window_bytes is {size}, of which the tokenizer makes one token: take more bytes"
        )
    numbers = (len(chosen), size, config.top, *(("steps",) if config.coded else ()))
    in_bytes, why = None, ""
    try:
        in_bytes = byte_reference(chosen, windows_WT, tokenizer)
    except UserMistake as mistake:
        # Neighbours with the same tokenizer need no byte rows.
        why = str(mistake)
    return ReferenceSet(
        windows_WT,
        RowsShape(rows, config.top, vocabulary, coded=config.coded and rows * config.top <= MAX_CODED),
        fingerprint_of("gossipllm/reference/2", (",".join(map(str, numbers)).encode(), *chosen)),
        tuple(chosen),
        byte_shape(chosen),
        in_bytes,
        why,
    )


def _of_tokens(config: ReferenceConfig, tokenizer: Any, vocabulary: int) -> ReferenceSet:
    length = config.window_tokens
    chosen: list[Windows] = []
    for name, text, count in _shares(config):
        lines = [line for line in text.splitlines() if line.strip()]
        cut_WT = cut(tokenise(lines, tokenizer), length)
        chosen.append(cut_WT[_draw(name, len(cut_WT), count, config, f"{length} tokens")])
    windows_WT = np.concatenate(chosen)
    last = config.positions == "last"
    shape = RowsShape(len(windows_WT) * (1 if last else length - 1), config.top, vocabulary, raw=last)
    numbers = (*windows_WT.shape, shape.top, vocabulary, *(("last",) if last else ()))
    parts = (",".join(map(str, numbers)).encode(), windows_WT.astype("<u4").tobytes())
    return ReferenceSet(windows_WT, shape, fingerprint_of("gossipllm/reference/1", parts))


def _shares(config: ReferenceConfig) -> Iterator[tuple[str, str, int]]:
    """Name, text and number of windows of each public text."""
    texts = reference_texts(config)
    for index, (name, text) in enumerate(texts.items()):
        if not text.strip():
            raise UserMistake(f"reference.source: {config.source} holds no text")
        yield name, text, config.windows // len(texts) + (index < config.windows % len(texts))


def _draw(name: str, found: int, wanted: int, config: ReferenceConfig, size: str) -> NDArray[np.int64]:
    """Which of the windows of a text are taken, in the order that the public seed gives."""
    if found < wanted:
        raise UserMistake(
            f"reference.windows: {config.source} ({name}) gives {found} windows of {size}, {wanted} are wanted"
        )
    return permutation("gossipllm/reference/1", (config.seed, name), found)[:wanted]


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
