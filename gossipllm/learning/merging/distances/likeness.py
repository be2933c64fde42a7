"""Compares neighbours with each other and with this peer: sizes, and which are nearly identical.

By update: `twins.sine`. By predictions: mean total variation. Whose predictions do not come from its update stands for
nobody, so that no forger can pass an honest peer's predictions off as its own and take its place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from gossipllm.learning.merging.distances.distances import Blob, OwnEvidence
from gossipllm.learning.merging.distances.twins import NEGLIGIBLE, SELF, least_sine, sine, sizes_of, twins_of
from gossipllm.learning.merging.products.inner_products import OfferedPieces, inner_products
from gossipllm.learning.merging.updates import Update
from trust.rows.evidence import prediction_distance
from wire.predictions.logits import LogitRows, SparseRows

NEAR_PREDICTIONS: Final = 1e-3
"""Mean total variation below which predictions are nearly identical: what rounding to bfloat16 does to them. Honest
peers were at least 0.06 apart (the run of `gossipllm.work.BIND_TOLERANCE`)."""

_COMPARED_ROWS: Final = 64
"""Rows on which predictions are compared with each other, spread over the reference set: enough to tell copies."""


class Likeness:
    """Neighbours with these updates and predictions, None for what cannot be decoded; `sizes` are the norms of the
    updates' products over that of this peer's."""

    def __init__(
        self,
        mine: OwnEvidence,
        updates: Sequence[Update | None],
        blobs: Sequence[Blob | None],
        digests: Sequence[bytes],
    ) -> None:
        self._known = [update is not None for update in updates]
        self._digests = digests
        blueprint = mine.blueprint
        rank, units = blueprint.rank, blueprint.own
        own, before = (
            OfferedPieces(rank, units, blueprint.pieces(state, units)) for state in (mine.state, mine.start)
        )
        others = [
            OfferedPieces(rank, (), {})
            if one is None
            else OfferedPieces(one.offer.rank, one.units, one.state)
            for one in updates
        ]
        self._inner = inner_products(blueprint, [own, *others])
        self._least = least_sine(inner_products(blueprint, [before, own]))
        self.sizes = sizes_of(self._inner)
        self._rows = [_few(blob) for blob in (mine.blob, *blobs)]

    def by_update(self) -> list[int]:
        """The twin that stands for each neighbour, by updates alone (`twins_of`)."""
        return twins_of(len(self._known), self._near_update)

    def by_all(self, forged: Collection[int]) -> list[int]:
        """The twin that stands for each neighbour, by updates and predictions. Predictions of the neighbours `forged`
        do not come from their updates."""

        def near(one: int, other: int) -> bool:
            if self._near_update(one, other):
                return True
            # Entry 0 is this peer's own, entry k + 1 that of neighbour k; SELF + 1 is 0.
            return other not in forged and _alike(self._rows[one + 1], self._rows[other + 1])

        return twins_of(len(self._known), near)

    def _near_update(self, one: int, other: int) -> bool:
        if not self._known[one]:
            return False
        if other == SELF and self.sizes[one] <= NEGLIGIBLE:
            return True
        if other != SELF and self._digests[one] == self._digests[other]:
            return True
        return sine(self._inner.between(one + 1, other + 1)) <= self._least


def _few(blob: Blob | None) -> Blob | None:
    """Some rows of predictions, spread over all."""
    if blob is None:
        return None
    few = slice(None, None, max(1, len(blob.ids_RK) // _COMPARED_ROWS))
    if isinstance(blob, LogitRows):
        return LogitRows(blob.ids_RK[few], blob.logits_RK[few])
    return SparseRows(blob.ids_RK[few], blob.logp_RK[few], blob.tail_R[few])


def _alike(one: Blob | None, other: Blob | None) -> bool:
    if isinstance(one, SparseRows) and isinstance(other, SparseRows):
        return prediction_distance(one, other).mean <= NEAR_PREDICTIONS
    if isinstance(one, LogitRows) and isinstance(other, LogitRows):
        # Raw logits are sent in float32 and unrounded: copies are equal.
        return np.array_equal(one.ids_RK, other.ids_RK) and np.array_equal(one.logits_RK, other.logits_RK)
    return False
