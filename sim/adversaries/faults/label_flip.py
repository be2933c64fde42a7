"""Label flip: trains on text whose words are swapped for others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gossipllm.text.windows import Splits
from sim.adversaries.fault import Fault


class LabelFlip(Fault):
    """Every token x of the training text becomes V - 1 - x, so that the adapter learns wrong words in earnest."""

    def text(self, splits: Splits, *, vocabulary: int) -> Splits:
        tokens_WT = np.where(splits.train_WT < 0, ~splits.train_WT, splits.train_WT)
        flipped_WT = (vocabulary - 1 - tokens_WT).astype(splits.train_WT.dtype)
        train_WT = np.where(splits.train_WT < 0, ~flipped_WT, flipped_WT)
        return replace(splits, train_WT=train_WT)
