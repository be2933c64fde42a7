"""Distances between peers whose tokenizers differ, from byte rows and from the likelihoods of spans.

Axes: R rows, K kept symbols of a row, S spans.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trust.rows.evidence import F64, Distance, Floats, Predictions, mean_distance


class BytePredictions(Predictions, Protocol):
    """Predictions of the next byte at the agreed offsets `at_R`, which rise, and the log-probabilities of spans, NaN
    where one is unknown. `ids_RK` are symbols."""

    @property
    def at_R(self) -> NDArray[np.int64]: ...
    @property
    def spans_S(self) -> Floats: ...


def across_tokenizers(mine: BytePredictions, theirs: BytePredictions) -> Distance:
    """The distance of two peers with different tokenizers, in [0, 1]: the mean of `byte_distance` and `span_distance`,
    or the former where they know no span in common. Raises `ValueError` where they have no row in common.

    Rows say what is likely at once, spans how whole words are taken, and the two err differently. After 8 local steps
    on six seeds, a neighbour of the same language is nearer than one of another in 0.993 of the pairs; by rows alone in
    0.972, by spans alone in 0.970, by the total variation of rows in 0.949 (benchmarks/byte_evidence.py).
    """
    rows = byte_distance(mine, theirs)
    if np.isnan(mine.spans_S + theirs.spans_S).all():
        return rows
    spans = span_distance(mine, theirs)
    return Distance((rows.mean + spans.mean) / 2, math.hypot(rows.error, spans.error) / 2)


def byte_distance(mine: BytePredictions, theirs: BytePredictions) -> Distance:
    """Mean Hellinger distance, in [0, 1], over the offsets at which both have a row. Raises `ValueError` where there is
    none or a value is not finite.

    Of each row the K kept probabilities count. A symbol that a side did not keep counts as 0 there, and the tails as
    nothing.
    """
    _, ours, others = np.intersect1d(mine.at_R, theirs.at_R, assume_unique=True, return_indices=True)
    if not len(ours):
        raise ValueError("byte rows must have an offset in common")
    my_roots_RK, their_roots_RK = _roots(mine)[ours], _roots(theirs)[others]
    ids_RM = np.concatenate((mine.ids_RK[ours], theirs.ids_RK[others]), axis=1)
    roots_RM = np.concatenate((my_roots_RK, their_roots_RK), axis=1)
    # As in `prediction_distance`: a symbol occurs at most once on each side, so shared ones are adjacent.
    order_RM = np.argsort(ids_RM, axis=1, kind="stable")
    ids_RM, roots_RM = (np.take_along_axis(one, order_RM, axis=1) for one in (ids_RM, roots_RM))
    both = ids_RM[:, 1:] == ids_RM[:, :-1]
    shared_R = np.where(both, roots_RM[:, 1:] * roots_RM[:, :-1], 0.0).sum(axis=1)
    kept_R = (my_roots_RK**2).sum(axis=1) + (their_roots_RK**2).sum(axis=1)
    return mean_distance(np.sqrt(np.clip(kept_R / 2 - shared_R, 0.0, 1.0)), "byte rows")


def span_distance(mine: BytePredictions, theirs: BytePredictions) -> Distance:
    """Mean over spans of the difference of log-probabilities over their sum, in [0, 1], where both know the span.
    Raises `ValueError` where there is none.

    Relative, because the words that no model expects would make up most of a mean of nats. A span's probability is that
    of the author's own tokens of it: other ways to cut it are left out on both sides.
    """
    if mine.spans_S.shape != theirs.spans_S.shape:
        raise ValueError(
            f"spans must be the same, got shapes {mine.spans_S.shape} and {theirs.spans_S.shape}"
        )
    differences_S = np.abs(np.subtract(mine.spans_S, theirs.spans_S, dtype=np.float64))
    sums_S = np.abs(np.add(mine.spans_S, theirs.spans_S, dtype=np.float64))
    # Two spans that are certain differ by nothing, and sum to nothing.
    relative_S = np.divide(differences_S, sums_S, out=np.zeros_like(sums_S), where=sums_S != 0)
    return mean_distance(relative_S[~np.isnan(differences_S)], "spans that both know")


def _roots(rows: BytePredictions) -> F64:
    return np.exp(rows.logp_RK / 2, dtype=np.float64)
