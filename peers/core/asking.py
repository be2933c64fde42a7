"""Asking: when a peer whom nobody helps stops asking for a while, so that being alone costs as little as it should.

A round asks its neighbours when it fetches, weighs and tries them. Where `DefenceConfig.fruitless` such rounds in a row
brought no whole merge, the next ones ask nobody: first `LEAST_PAUSE` of them, and after one more round that brings none
twice as many, up to `LONGEST_PAUSE`. Meanwhile this peer trains, announces and serves as ever. A whole merge begins the
count anew.

A merge is whole where the guard took the row as it was. One that had to be shrunk towards the peer itself does not
count, although it lowers the loss: averaging away the noise of steps does that with anybody, and a peer can do it by
itself. Of the merges among six peers of six kinds nearly all were shrunk, of those among relatives one in fifty
(sim/FINDINGS.md).

A round in which steps toward predictions of another base were kept (`gossipllm.learning.distilling`) counts as a whole
merge: a pause would keep this peer from its teachers, too.

An author that was never heard before may be the relative that was missing. It ends a pause, and the next ones are short
again, because it may have trained for a few steps only. But `LEAST_PAUSE` rounds go by between two that ask, whoever
comes: identities are free, and a flood of them must not make this peer ask in every round.
"""

from __future__ import annotations

from typing import Final

import msgspec

LEAST_PAUSE: Final = 4
"""Rounds of the first pause. Guess."""
LONGEST_PAUSE: Final = 64
"""Most rounds of a pause. Guess: a neighbour whose text has come to be of use is found after as many."""


class Asking(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The state up to now.

    `fruitless` counts the rounds in a row that asked and brought no merge, `pauses` the pauses since the last merge or
    newcomer.
    `waits` are the rounds yet to go without asking, `rested` those gone by since the last round that asked.
    """

    fruitless: int = 0
    pauses: int = 0
    waits: int = 0
    rested: int = 0

    def asked(self, *, merged: bool, patience: int) -> Asking:
        """After a round that tried neighbours; `patience` of such rounds without a merge begin a pause."""
        if merged:
            return Asking()
        fruitless = self.fruitless + 1
        if fruitless < patience:
            return Asking(fruitless, self.pauses)
        # The bound on the exponent is for a count that grows for years.
        waits = min(LONGEST_PAUSE, LEAST_PAUSE * 2 ** min(self.pauses, 16))
        return Asking(fruitless, self.pauses + 1, waits)

    def paused(self) -> Asking:
        """After a round that asked nobody, because of a pause."""
        return msgspec.structs.replace(self, waits=max(0, self.waits - 1), rested=self.rested + 1)

    def roused(self) -> Asking:
        """After an author was heard for the first time."""
        if not self.waits:
            return self
        waits = min(self.waits, max(0, LEAST_PAUSE - self.rested))
        return msgspec.structs.replace(self, waits=waits, pauses=0)


ASKING: Final = Asking()
"""The state of a peer that has always asked."""
