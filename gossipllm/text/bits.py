"""Bits a byte: a loss in nats a token in units that models of unlike tokenizers share.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

import math
from typing import Any, Final

from gossipllm.text.windows import Windows, decoded

_NO_CHARACTER: Final = "\ufffd"


def bits_per_byte(nats: float, windows_WT: Windows, tokenizer: Any) -> float:
    """A mean loss in nats a token over windows of running text, as bits a byte of the tokens that bear it.

    Unlike a perplexity it can be compared between tokenizers.
    """
    size = sum(len(text.encode()) for text in window_texts(windows_WT[:, 1:], tokenizer))
    return nats * windows_WT[:, 1:].size / math.log(2) / size


def window_texts(windows_WT: Windows, tokenizer: Any) -> list[str]:
    """The text of each window, without special tokens and what is left of characters at its edges."""
    found: list[str] = tokenizer.batch_decode(decoded(windows_WT).tolist(), skip_special_tokens=True)
    return [text.strip(_NO_CHARACTER) for text in found]
