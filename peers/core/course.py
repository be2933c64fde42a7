"""The course: how this peer's trust loss went, what training alone would have made of it, and its last good state.

The guard compares a merge with the adapter as it is now, which earlier merges may have ruined already, and it sees
only the moment of the merge: a neighbour may lower the loss now and spoil what the next local steps can learn. The
course remembers, and judges after the next local steps.

**Training alone** is estimated from this peer's own steps, at no cost. Until the first merge the estimate is the
measured loss itself. Afterwards a lone learner at loss L is taken to gain in a round what this peer's own local steps
gained when they began nearest to L:

    alone(r) = alone(r - 1) - f(r),    f(r) = min(f(r - 1), fall(alone(r - 1)))

with fall(L) of the local steps that began nearest to L. Merges move this peer along the same course sooner than it
would come there alone, so losses near the estimate have been passed before; below all losses at which own steps began,
where nothing was measured, f(r) is at most half of f(r - 1), so that the estimate cannot run away. Steps after a merge
count only where they lowered the loss, because the merge may have spoiled them; steps after a round alone count as they
are, so that a lone learner that overtrains is no better than it is.

**Going back.** A peer whose loss after local steps lies above the estimate by more than `MARGIN`, for
`DefenceConfig.patience` rounds in a row, takes its last good state back, which is the one of least trust loss after
local steps, and trains alone for a while: one round, and twice as many each further time. The first of these rounds is
the judgement: where even steps alone raise the loss, this peer overtrains, and no merge was to blame.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

MARGIN: Final = 0.01
"""Nats per token above the estimate that count as worse: half of what may be lost at most (a perplexity of 1.02 times
that of training alone), and far above the error of the mean of paired differences on a trust split."""
MAX_FALLS: Final = 64
"""Rounds remembered for the estimate."""
MAX_ALONE: Final = 16
"""Most rounds that a peer trains alone after it went back."""


class Fall(msgspec.Struct, frozen=True, array_like=True):
    """Local steps that began at the trust loss `level` and lowered it by `by`; in nats per token."""

    level: float
    by: float


class Course(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The course up to now. Losses are on the trust split; None is not known yet.

    `level` is the loss in which the last round ended, and `lone` says whether it ended without a merge. `alone` is the
    estimate for training alone after as many local steps and `fall` its last f(r), `best` the loss of the last good
    state. `merged` says whether any merge was ever taken. `behind` counts rounds in a row above the estimate, `waits`
    the rounds yet to train alone, `returns` how often merges sent this peer back. While `judging`, the next local steps
    tell whether they did.
    """

    level: float | None = None
    lone: bool = True
    alone: float | None = None
    fall: float | None = None
    best: float | None = None
    falls: tuple[Fall, ...] = ()
    merged: bool = False
    behind: int = 0
    waits: int = 0
    returns: int = 0
    judging: bool = False

    def stepped(self, loss: float) -> Course:
        """After local steps that ended in this loss."""
        falls = self._falls_with(loss)
        alone, fall = self._alone_after(loss, falls)
        behind = self.behind + 1 if alone is not None and not loss <= alone + MARGIN else 0
        overtrains = self.judging and not self.blames(loss)
        return msgspec.structs.replace(
            self,
            alone=alone,
            fall=fall,
            falls=falls,
            behind=0 if overtrains else behind,
            best=loss if self.improves(loss) else self.best,
            judging=False,
            waits=0 if overtrains else self.waits,
            returns=0 if overtrains else self.returns,
        )

    def _falls_with(self, loss: float) -> tuple[Fall, ...]:
        if self.level is None or not math.isfinite(loss):
            return self.falls
        by = self.level - loss
        return (*self.falls, Fall(self.level, by))[-MAX_FALLS:] if self.lone or by > 0 else self.falls

    def _alone_after(self, loss: float, falls: tuple[Fall, ...]) -> tuple[float | None, float | None]:
        """The estimate after a round of local steps in which this peer itself reached `loss`, and its fall."""
        if not self.merged or self.alone is None:
            return (loss, self._own_fall(loss)) if math.isfinite(loss) else (self.alone, self.fall)
        # The present steps do not count yet after a merge, which may have spoiled them.
        known = falls if self.lone else self.falls
        if not known:
            return self.alone, None
        fall = _fall(known, self.alone)
        if self.fall is not None:
            measured = any(one.level <= self.alone for one in known)
            fall = min(fall, self.fall if measured else self.fall / 2)
        return self.alone - fall, fall

    def _own_fall(self, loss: float) -> float | None:
        return None if self.level is None else self.level - loss

    def ended(self, loss: float, *, merged: bool) -> Course:
        """After the round's end, with the loss of the adapter that the next round begins with."""
        return msgspec.structs.replace(
            self,
            level=_known(loss),
            lone=not merged,
            merged=self.merged or merged,
            waits=max(0, self.waits - 1),
        )

    def returned(self, loss: float) -> Course:
        """After going back to the last good state, whose loss this is."""
        return msgspec.structs.replace(
            self,
            level=_known(loss),
            lone=True,
            behind=0,
            waits=min(MAX_ALONE, 2**self.returns),
            returns=self.returns + 1,
            judging=True,
        )

    def recalled(self, loss: float) -> Course:
        """After going back to the best state, whose loss this is, although no merge did harm."""
        return msgspec.structs.replace(self, level=_known(loss), lone=True, behind=0)

    def blames(self, loss: float) -> bool:
        """While `judging`: whether local steps alone, which ended in this loss, show that merges did the harm."""
        return self.level is None or loss <= self.level + MARGIN / 2

    def improves(self, loss: float) -> bool:
        """Whether a state of this loss after local steps is the new last good state."""
        return math.isfinite(loss) and (self.best is None or loss < self.best)


def _known(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _fall(falls: tuple[Fall, ...], level: float) -> float:
    """The fall of the local steps that began nearest to `level`; of equally near ones, of the last."""
    return min(reversed(falls), key=lambda fall: abs(fall.level - level)).by
