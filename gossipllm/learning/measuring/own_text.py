"""The bound on what a learner's own text may lose to what it wants to read besides.

Where public text is a part of what decides or of what is trained on (`DataConfig.trust_public`, `train_public`), what
helps there can cost the own text. Each merge, each distilling and each round of steps may cost little of it, and over
rounds that adds up. So the loss on the trust windows of the own text is held against the least that any state of this
learner had, also before a restart, and may lie at most `MOST` above it. Whatever changes the adapter stays within that:

    merges, distilling    are not taken where they lead beyond the bound
    local steps           a part of their way is taken where all of it leads beyond, or nothing

A learner that is beyond the bound already may go where it loses no more. Steps are shortened whatever text they read:
most of what a large model loses of its own text, it loses to too many steps on little of it (sim/FINDINGS.md), and a
part of the way is then better than all of it, also for public text, for which room is left.

The least loss is that of the learner's own path, not of a peer that trains alone, which nobody measures.

Axes: W windows.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from gossipllm.config import LearnerConfig
from gossipllm.learning.jobs.jobs import Task, losses_of
from gossipllm.learning.learner_state import LearnerState
from gossipllm.learning.measuring.measuring import Measuring
from gossipllm.learning.measuring.parts_of_way import SHARES, part_of_way
from gossipllm.model.adapter.names import State
from gossipllm.model.adapter.snapshots import LeastOwn
from wire.digest import digest_of
from wire.floats import F32

MOST: Final = 0.01
"""Most by which the loss on the own text may lie above the least so far, over that. Guess: what is gained elsewhere
should cost a reader next to nothing here."""


class OwnText:
    """The bound of one learner. Without public text it allows everything and measures nothing."""

    def __init__(self, config: LearnerConfig, measuring: Measuring) -> None:
        self.bounds = config.rows and bool(config.data.trust_public or config.data.train_public)
        self._measuring = measuring
        self._windows = digest_of(measuring.own_trust_WT.tobytes()) if self.bounds else b""

    def noted(self, now: LearnerState, losses_W: F32) -> LearnerState:
        """`now`, whose trust losses these are, with the least loss of the own text up to it."""
        if not self.bounds:
            return now
        loss, least = self._measuring.own_loss(losses_W), self._least(now)
        if not math.isfinite(loss) or (least is not None and loss >= least):
            return now
        return replace(now, least_own=LeastOwn(loss=loss, windows=self._windows))

    def spares(self, now: LearnerState, before_W: F32, after_W: F32) -> bool:
        """Whether `now`, whose trust losses are `before_W`, may move to a state whose trust losses are `after_W`."""
        least = self._least(now)
        if not self.bounds or least is None:
            return True
        own = self._measuring.own_loss
        return own(after_W) <= max((1 + MOST) * least, own(before_W))

    def shortened(self, now: LearnerState, before_W: F32, stepped: State) -> Task[State]:
        """Where steps from `now` to `stepped` may lead: all of the way, a part of it, or nowhere. Steps that diverged
        are not hidden by a part of them."""
        for share in SHARES:
            state = part_of_way(now.state, stepped, share)
            (losses_W,) = yield from losses_of((state,), self._measuring.trust_WT, "trust")
            if self.spares(now, before_W, losses_W) or not np.isfinite(losses_W).all():
                return state
        return now.state

    def _least(self, now: LearnerState) -> float | None:
        """None where nothing was measured, or what was measured is of other text."""
        least = now.least_own
        return None if least is None or least.windows != self._windows else least.loss
