"""Inflated claims: says that it has read nearly all the text there is, and that it can do all the work."""

from __future__ import annotations

import msgspec

from gossipllm.work import Trained
from sim.adversaries.faults.sign_flip import SignFlip

TOKENS = 2**40
"""Tokens and samples that are claimed for each round. Guess: more than any device could read."""
IMPORTANCE = 1e30
"""Importance that is claimed for every layer: near the largest of the codec."""


class InflatedClaims(SignFlip):
    """Claims text without end, and that every layer is all-important, for the opposite of what was learned. Methods
    that weigh text (+tokens) or share out work by claims are the ones to fall for it."""

    def claimed(self, trained: Trained) -> Trained:
        return msgspec.structs.replace(
            trained,
            tokens=TOKENS,
            samples=TOKENS,
            importance=tuple(None if one is None else IMPORTANCE for one in trained.importance),
        )
