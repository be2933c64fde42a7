"""How certain it is that merging gains something, and how much of a merge is taken for it.

The gain of a merge is measured on a few windows that had no part in choosing it, and one that passes by luck moves this
peer as far as a good one. So what merges gained in the rounds before is counted with it, those that were refused
included: with a gain g of the standard error e now, and gains before that sum up to G with the variance V,

    certainty = (g + G)^2 / ((g + G)^2 + e^2 + V)

which is Wiener's filter for a signal that is measured again and again. Of a row that is taken, neighbours keep as much
of their weights. Relatives gain in each round, so that after a few they lose little by it; among strangers gains and
losses cancel, and chance moves little. Sums fade by `FADE` with each merge that is judged, because what helped early
may help no more. A loss counts up to its error: one bad neighbour must not make all others doubtful for long.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

FADE: Final = 0.8
"""What each judged merge leaves of the sums before it: they remember some five. Guess."""


class Merits(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What merges gained up to now, in nats per token: fading sums of gains and of their squared standard errors."""

    gain: float = 0.0
    variance: float = 0.0

    def after(self, gain: float, error: float) -> Merits:
        """These with one more merge that was judged; the same where its gain or error is not known."""
        if not (math.isfinite(gain) and math.isfinite(error) and error > 0):
            return self
        return Merits(FADE * (self.gain + max(gain, -error)), FADE * (self.variance + error**2))

    def certainty(self, gain: float, error: float, *, doubt: float) -> float:
        """How certain a merge of this gain is, 0 to 1, where errors count `doubt` times. 1 where the gain is not above
        0, or no error is known to doubt it by. Where the gains before outweigh this one, it stands alone."""
        error *= doubt
        if not (0 < gain < math.inf and 0 < error < math.inf):
            return 1.0
        whole = gain + self.gain if gain + self.gain > 0 else gain
        return 1 / (1 + (math.hypot(error, doubt * math.sqrt(self.variance)) / whole) ** 2)


NO_MERITS: Final = Merits()
