"""Predictions of the next byte as arrays, and as byte rows at their places in the reference set. No torch.

Axes: R rows, K kept symbols; S spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gossipllm.text.in_bytes.positions import BytePositions
from wire.floats import F32
from wire.predictions.byte_rows import ByteRows


@dataclass(frozen=True, slots=True, eq=False)
class BytePredictions:
    """The `top` most probable symbols of each row, rising, the probability of everything else, and the log-probability
    of the token that follows."""

    ids_RK: NDArray[np.uint32]
    logp_RK: F32
    tail_R: F32
    true_R: F32

    def part(self, rows: slice) -> BytePredictions:
        return BytePredictions(self.ids_RK[rows], self.logp_RK[rows], self.tail_R[rows], self.true_R[rows])


def joined(parts: Sequence[BytePredictions]) -> BytePredictions:
    """All rows of the parts, in order."""
    return BytePredictions(
        np.concatenate([one.ids_RK for one in parts]),
        np.concatenate([one.logp_RK for one in parts]),
        np.concatenate([one.tail_R for one in parts]),
        np.concatenate([one.true_R for one in parts]),
    )


def placed(predictions: BytePredictions, positions: BytePositions) -> ByteRows:
    """Predictions of all rows at their offsets, and the log-probability of each span."""
    somewhere = positions.at_R >= 0
    summed = np.concatenate(([0.0], np.cumsum(predictions.true_R, dtype=np.float64)))
    first_S, behind_S = positions.spans_S2.T
    spans_S = np.where(behind_S > first_S, summed[behind_S] - summed[first_S], np.nan)
    return ByteRows(
        positions.at_R[somewhere],
        predictions.ids_RK[somewhere],
        predictions.logp_RK[somewhere],
        predictions.tail_R[somewhere],
        spans_S.astype(np.float32),
    )
