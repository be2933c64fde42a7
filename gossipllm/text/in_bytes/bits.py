"""Bits a byte: a loss in nats a token in units that models of unlike tokenizers share.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

import math
from typing import Any, Final

from gossipllm.text.windows import Windows, decoded

_NO_CHARACTER: Final = "\ufffd"


def bits_per_byte(nats: float, windows_WT: Windows, tokenizer: Any) -> float:
    """A mean loss in nats a token over windows, as bits a byte of the tokens that bear it.

    Unlike a perplexity it can be compared between tokenizers.
    """
    bearing = [row_T[1:][row_T[1:] >= 0].tolist() for row_T in windows_WT]
    size = sum(len(text.encode()) for text in _texts(bearing, tokenizer))
    return nats * sum(map(len, bearing)) / math.log(2) / size


def window_texts(windows_WT: Windows, tokenizer: Any) -> list[str]:
    """The text of each window, without special tokens and what is left of characters at its edges."""
    return _texts(decoded(windows_WT).tolist(), tokenizer)


def _texts(ids: list[list[int]], tokenizer: Any) -> list[str]:
    found: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text.strip(_NO_CHARACTER) for text in found]
