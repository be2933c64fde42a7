"""The text of a share in the tokens of another model, so that peers of unlike tokenizers hold disjoint texts.

Text is dealt once, in the tokens of one model, and each peer reads its part of it with its own tokenizer. A character
that a window's edge cuts apart is left out.

Axes: W windows, T tokens of a window.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gossipllm.text.dealing.partitions import Share
from gossipllm.text.in_bytes.bits import window_texts
from gossipllm.text.windows import Splits, Windows, cut


def retokenised(share: Share, dealt_by: Any, tokenizer: Any) -> Share:
    """A share whose windows hold tokens of `dealt_by`, in windows of equal length with tokens of `tokenizer`.

    Every split has the same text in the same order but for less than a window at its end; its number of windows
    changes with the length of tokens. All tokens of the share must bear loss, as those of running text do.
    """

    def read(windows_WT: Windows) -> Windows:
        texts = window_texts(windows_WT, dealt_by)
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return cut(np.array([one for window in ids for one in window], np.int32), windows_WT.shape[1])

    splits = share.splits
    made = Splits(read(splits.train_WT), read(splits.trust_WT), read(splits.test_WT))
    kept = made.train_WT.size / max(1, splits.train_WT.size)
    return replace(share, splits=made, tokens_C=np.round(share.tokens_C * kept).astype(np.int64))
