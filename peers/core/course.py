"""The course: how this peer's trust loss went, what training alone would have made of it, and its last good state.

The guard compares a merge with the adapter as it is now, which earlier merges may have ruined already, and it sees
only the moment of the merge: a neighbour may lower the loss now and spoil what the next local steps can learn. The
course remembers, and judges after the next local steps.

**Training alone** is estimated from this peer's own steps, at no cost. Until the first merge the estimate is the
measured loss itself. Afterwards a lone learner at loss L is taken to gain in a round what this peer's own local steps
gained when they began nearest to L:

    alone(r) = alone(r - 1) - f(r),    f(r) = min(f(r - 1), fall(alone(r - 1)))

with fall(L) of the local steps that began nearest to L.
Every round that is not behind the estimate adds the loss at which its steps began and by how much it fell. Merges
move this peer along the same course sooner than it would come there alone, so losses near the estimate have been passed
before; below all losses at which own steps began, where nothing was measured, f(r) is at most half of f(r - 1), so that
the estimate cannot run away. A loss that rises counts as a fall of 0: a lone learner keeps its best.

**Going back.** A peer whose loss after local steps lies above the estimate by more than `MARGIN`, for
`DefenceConfig.patience` rounds in a row, takes its last good state back, which is the one of least trust loss after
local steps, and trains alone for a while: one round, and twice as many each further time.
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
    """Local steps that began at the trust loss `level` and lowered it by `by`, at least 0; in nats per token."""

    level: float
    by: float


class Course(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The course up to now. Losses are on the trust split; None is not known yet.

    `level` is the loss in which the last round ended, `alone` the estimate for training alone after as many local
    steps and `fall` its last f(r), `best` the loss of the last good state. `merged` says whether any merge was ever
    taken. `behind` counts rounds in a row above the estimate, `waits` the rounds yet to train alone, `returns` how
    often this peer went back.
    """

    level: float | None = None
    alone: float | None = None
    fall: float | None = None
    best: float | None = None
    falls: tuple[Fall, ...] = ()
    merged: bool = False
    behind: int = 0
    waits: int = 0
    returns: int = 0

    def stepped(self, loss: float) -> Course:
        """After local steps that ended in this loss."""
        alone, fall = self._alone_after(loss)
        behind = self.behind + 1 if alone is not None and not loss <= alone + MARGIN else 0
        falls = self.falls
        # Steps that a merge may have spoiled say nothing about a lone learner.
        if not behind and self.level is not None and math.isfinite(loss):
            falls = (*falls, Fall(self.level, max(0.0, self.level - loss)))[-MAX_FALLS:]
        best = loss if self.improves(loss) else self.best
        return msgspec.structs.replace(self, alone=alone, fall=fall, falls=falls, behind=behind, best=best)

    def _alone_after(self, loss: float) -> tuple[float | None, float | None]:
        """The estimate after a round of local steps in which this peer itself reached `loss`, and its fall."""
        if self.merged and self.alone is not None:
            if not self.falls:
                return self.alone, None
            fall = _fall(self.falls, self.alone)
            if self.fall is not None:
                measured = any(one.level <= self.alone for one in self.falls)
                fall = min(fall, self.fall if measured else self.fall / 2)
            return self.alone - fall, fall
        if not math.isfinite(loss):
            return self.alone, self.fall
        if self.alone is None:
            return loss, None
        return min(self.alone, loss), max(0.0, self.alone - loss)

    def ended(self, loss: float, *, merged: bool) -> Course:
        """After the round's end, with the loss of the adapter that the next round begins with."""
        return msgspec.structs.replace(
            self, level=_known(loss), merged=self.merged or merged, waits=max(0, self.waits - 1)
        )

    def returned(self, loss: float) -> Course:
        """After going back to the last good state, whose loss this is."""
        return msgspec.structs.replace(
            self,
            level=_known(loss),
            behind=0,
            waits=min(MAX_ALONE, 2**self.returns),
            returns=self.returns + 1,
        )

    def improves(self, loss: float) -> bool:
        """Whether a state of this loss after local steps is the new last good state."""
        return math.isfinite(loss) and (self.best is None or loss < self.best)


def _known(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _fall(falls: tuple[Fall, ...], level: float) -> float:
    """The fall of the local steps that began nearest to `level`; of equally near ones, of the last."""
    return min(reversed(falls), key=lambda fall: abs(fall.level - level)).by
