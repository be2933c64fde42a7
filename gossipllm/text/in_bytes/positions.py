"""Where a tokenizer's tokens lie in the bytes of the reference windows: which offsets have a row, and which spans.

Offsets are all bytes of all windows but the first of each, window by window. A span is a word with the white space
before it, between two ends of words in one window; a word that a window's border cuts is in none.

Axes: W windows, T tokens; R rows, one for each token but the first of a window; S spans.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from gossipllm.text.windows import Windows
from trust.errors import UserMistake
from wire.predictions.byte_rows import ByteShape

_NOWHERE = -1
"""Offset of a row before which no byte of its window stands."""


@dataclass(frozen=True, slots=True, eq=False)
class BytePositions:
    """`at_R` is the offset of each row, -1 where it has none. `spans_S2` are the first row of each span and the first
    behind it; both are 0 where the tokenizer has no boundary at both its ends."""

    shape: ByteShape
    at_R: NDArray[np.int64]
    spans_S2: NDArray[np.int64]


def byte_shape(windows: Sequence[bytes]) -> ByteShape | None:
    """Of all tokenizers' byte rows of these windows; None where there are none, or too many for a blob."""
    spans = sum(max(0, sum(1 for _ in _word_ends(window)) - 1) for window in windows)
    try:
        return ByteShape(sum(len(window) - 1 for window in windows), spans)
    except ValueError:
        return None


def byte_positions(
    windows: Sequence[bytes], windows_WT: Windows, tokens: Sequence[bytes | None]
) -> BytePositions:
    """Of the tokens `windows_WT` that a tokenizer makes of `windows`; `tokens` are the bytes of its vocabulary.

    Raises `UserMistake` where the tokens of a window are not its bytes, as where a tokenizer makes small letters; and
    where there are too many windows for a blob.
    """
    shape = byte_shape(windows)
    if shape is None:
        raise UserMistake("the reference set has more bytes than byte rows have room for")
    at: list[int] = []
    spans: list[tuple[int, int]] = []
    first_offset = 0
    for window, window_T in zip(windows, windows_WT, strict=True):
        starts = _starts(window, window_T[window_T >= 0].tolist(), tokens)
        row_at = {start: len(at) + index for index, start in enumerate(starts) if start}
        for start, end in pairwise(_word_ends(window)):
            known = start in row_at and end in row_at
            spans.append((row_at[start], row_at[end]) if known else (0, 0))
        at += [first_offset + start - 1 if start else _NOWHERE for start in starts]
        first_offset += len(window) - 1
    return BytePositions(shape, np.array(at, np.int64), np.array(spans, np.int64).reshape(-1, 2))


def _starts(window: bytes, ids: Sequence[int], tokens: Sequence[bytes | None]) -> list[int]:
    """Where each token but the first begins in its window.

    A tokenizer of sentencepiece puts a space before a text: it is taken off the first token, of which nothing may be
    left.
    """
    parts = [tokens[index] if index < len(tokens) else None for index in ids]
    made = [part for part in parts if part is not None]
    text = b"".join(made)
    before = len(text) - len(window)
    if len(made) != len(parts) or before not in (0, 1) or text != b" "[:before] + window:
        raise UserMistake(
            "the tokenizer changes the public text, so that its tokens have no place in the bytes: "
            f"{window[:40]!r} became {text[:40]!r}"
        )
    return [end - before for end in accumulate(map(len, made[:-1]))]


def _word_ends(window: bytes) -> Iterator[int]:
    """The offsets at which white space follows something else."""
    for at in range(1, len(window)):
        if window[at : at + 1].isspace() and not window[at - 1 : at].isspace():
            yield at
