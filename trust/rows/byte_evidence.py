"""Distances between peers whose tokenizers differ, from byte rows and from the likelihoods of spans.

Axes: R rows, K kept symbols of a row, S spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trust.rows.evidence import Distance, Floats, Predictions, mean_distance, prediction_distance


class BytePredictions(Predictions, Protocol):
    """Predictions of the next byte at the agreed offsets `at_R`, which rise, and the log-probabilities of spans, NaN
    where one is unknown. `ids_RK` are symbols."""

    @property
    def at_R(self) -> NDArray[np.int64]: ...
    @property
    def spans_S(self) -> Floats: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    ids_RK: NDArray[np.uint32]
    logp_RK: Floats
    tail_R: Floats


def byte_distance(mine: BytePredictions, theirs: BytePredictions) -> Distance:
    """`prediction_distance` over the offsets at which both have a row. Raises `ValueError` where there is none."""
    _, ours, others = np.intersect1d(mine.at_R, theirs.at_R, assume_unique=True, return_indices=True)
    if not len(ours):
        raise ValueError("byte rows must have an offset in common")
    return prediction_distance(_at(mine, ours), _at(theirs, others))


def span_distance(mine: BytePredictions, theirs: BytePredictions) -> Distance:
    """Mean over spans of the absolute difference of log-probabilities, in nats, where both know the span. Raises
    `ValueError` where there is none.

    A span's probability is that of the author's own tokens of it: other ways to cut it are left out on both sides.
    """
    if mine.spans_S.shape != theirs.spans_S.shape:
        raise ValueError(
            f"spans must be the same, got shapes {mine.spans_S.shape} and {theirs.spans_S.shape}"
        )
    differences_S = np.abs(np.subtract(mine.spans_S, theirs.spans_S, dtype=np.float64))
    return mean_distance(differences_S[~np.isnan(differences_S)], "spans that both know")


def _at(rows: BytePredictions, chosen: NDArray[np.intp]) -> Predictions:
    return _Rows(rows.ids_RK[chosen], rows.logp_RK[chosen], rows.tail_R[chosen])
