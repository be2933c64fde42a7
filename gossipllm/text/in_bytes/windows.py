"""A text as windows of bytes, which are the same for every tokenizer, and each window as one tokenizer's tokens.

The windows of a text do not overlap. A window begins at a line; where a line is longer than a window, the next one
begins inside of it, at a space, so that tokenizers that put a space before a word agree on the first token. It holds at
most the given number of bytes, ends between two characters, and runs on into the next lines where its line is short.

Tokenizers cut windows of equal length into different numbers of tokens. Windows that are shorter than the longest
one are filled up at the right with entries that bear no loss (`gossipllm.text.windows`).

Axes: W windows, T tokens of the longest window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from gossipllm.text.tokens import plain_ids
from gossipllm.text.windows import Windows

_FILL: Final = ~0
"""Token 0 without loss. At the right of a causal model's window no prediction that counts sees it."""
_SPACE, _LINE_END = b" ", b"\n"


def byte_windows(text: str, size: int) -> list[bytes]:
    """All windows of at most `size` bytes, in order. Blank lines are left out; an incomplete last window is dropped."""
    data = _LINE_END.join(line.encode() for line in text.splitlines() if line.strip())
    return [data[start:end] for start, end in _stretches(data, size)]


def token_windows(windows: Sequence[bytes], tokenizer: Any) -> Windows:
    """Each window's tokens without special tokens, `(W, T)`, filled up at the right."""
    ids = plain_ids([window.decode() for window in windows], tokenizer)
    made_WT = np.full((len(ids), max(map(len, ids))), _FILL, np.int32)
    for window_T, one in zip(made_WT, ids, strict=True):
        window_T[: len(one)] = one
    return made_WT


def _stretches(data: bytes, size: int) -> Iterator[tuple[int, int]]:
    start = 0
    while len(data) - start >= size:
        end = _character_start(data, start + size)
        yield start, end
        line = data.find(_LINE_END, end)
        rest = len(data) if line < 0 else line
        space = data.find(_SPACE, end, rest)
        start = space if 0 <= space <= rest - size else rest + 1


def _character_start(data: bytes, at: int) -> int:
    """The last place up to `at` where a UTF-8 character begins, or `data` ends."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at
