"""Which trust windows propose a merge in a round, and which judge it.

A row that is the best of several on some windows is partly the luckiest on them, so its loss there is no measurement of
what it is worth. Half of the trust windows propose: neighbours are weighed and tried on them, temperatures are compared
and rows are fitted on them. The other half judges the row that came of it. Which half does what is drawn anew in each
round, from the learner's seed and the round, so that a round that is repeated after a crash is judged by the same
windows, and no window judges for ever.

With fewer than `LEAST_SPLIT` windows both halves are all windows: a standard error of a few differences says
little, and a merge is then judged by what proposed it.

Axes: P proposing windows, J judging windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipllm.randomness import permutation

LEAST_SPLIT: Final = 16
"""Trust windows from which they are split. Halves of four cost a twentieth of the clean gain (sim/FINDINGS.md), and in
the demo, with nine trust windows, one peer of four refused in the end what had helped it."""


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Indices of trust windows, ascending."""

    proposing_P: NDArray[np.int64]
    judging_J: NDArray[np.int64]

    @property
    def whole(self) -> bool:
        """Whether both are all windows."""
        return self.proposing_P is self.judging_J


def halves(windows: int, *, seed: int, round_: int, split: bool) -> Halves:
    """The halves of `windows` trust windows; of an odd number, the judging half is the larger one."""
    if not split or windows < LEAST_SPLIT:
        everything = np.arange(windows, dtype=np.int64)
        return Halves(everything, everything)
    order = permutation("gossipllm/halves/1", (seed, round_), windows)
    middle = windows // 2
    return Halves(np.sort(order[:middle]), np.sort(order[middle:]))
