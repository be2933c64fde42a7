"""Examples of a peer's text as the model sees them: training windows as runs of tokens with and without loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gossipllm.text.windows import Windows


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive tokens of a window that all bear loss, or do not, and their text."""

    bears: bool
    ids: tuple[int, ...]
    text: str


def runs_of(window_T: Windows, tokenizer: Any) -> tuple[Run, ...]:
    """The runs of one window, in order. A character that two runs share is shown as U+FFFD in both."""
    return tuple(_runs([int(one) for one in window_T], tokenizer))


def spread(windows_WT: Windows, count: int) -> Windows:
    """At most `count` windows, evenly spread, so that the examples do not all come from one place."""
    count = min(count, len(windows_WT))
    return windows_WT[[index * len(windows_WT) // count for index in range(count)]]


def _runs(window: list[int], tokenizer: Any) -> Iterator[Run]:
    # The first token of a window is never a target.
    bears = [False, *(one >= 0 for one in window[1:])]
    for bearing, members in groupby(range(len(window)), key=bears.__getitem__):
        ids = tuple(max(window[index], ~window[index]) for index in members)
        text: str = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        yield Run(bearing, ids, text)
