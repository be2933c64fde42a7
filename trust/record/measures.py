"""Measures of a trust row or of a trust matrix.

Rows are distributions over peers. A matrix is P x P, and row i holds the weights that peer i gives; an unknown row is
nan and is left out of every measure.

Axes: P peers, K neighbours of one peer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from trust.rows.evidence import F64

FLOOR: Final = 0.01
"""Share of the uniform row that is mixed into both rows before their divergence is computed. Without it, a single 0
where the oracle has weight makes the divergence infinite, and one refused merge hides all other rows. Guess."""


def entropy(row: Sequence[float]) -> float:
    """Entropy of a row in nats, from 0 (one peer only) to the logarithm of the length (uniform)."""
    # Subtracted from 0.0, because the negative of an empty sum would print as -0.0.
    return 0.0 - math.fsum(weight * math.log(weight) for weight in row if weight > 0)


def effective_collaborators(row: Sequence[float]) -> float:
    """`1 / sum w^2`, the peer itself included: 1 for a peer alone, K+1 for a uniform row, nan for a row of zeros."""
    square = math.fsum(weight * weight for weight in row)
    return 1 / square if square > 0 else math.nan


def asymmetry(matrix: ArrayLike) -> float:
    """`|M - M'| / |M + M'|` (Frobenius) over pairs of different peers whose rows are both known.

    0 where trust is mutual, 1 where no two peers trust each other; nan where no peer trusts another.
    """
    rows_PP = _square(matrix)
    pairs = _others(rows_PP) & ~np.isnan(rows_PP) & ~np.isnan(rows_PP.T)
    whole = float(np.linalg.norm((rows_PP + rows_PP.T)[pairs]))
    return float(np.linalg.norm((rows_PP - rows_PP.T)[pairs])) / whole if whole > 0 else math.nan


def divergences(oracle: ArrayLike, matrix: ArrayLike) -> F64:
    """KL(oracle row || row) in nats for each peer: the cost of using the row if the oracle is right.

    Infinite where the row gives nothing to a peer that the oracle trusts; nan where either row is unknown.
    """
    truth_PP, rows_PP = _pair(oracle, matrix)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms_PP = np.where(truth_PP > 0, truth_PP * np.log(truth_PP / rows_PP), 0.0)
    terms_PP[np.isnan(truth_PP) | np.isnan(rows_PP)] = np.nan
    return terms_PP.sum(axis=1)


def floored(matrix: ArrayLike) -> F64:
    """Each row mixed with `FLOOR` of the uniform row."""
    rows_PP = _square(matrix)
    return (1 - FLOOR) * rows_PP + FLOOR / len(rows_PP)


def distance(oracle: ArrayLike, matrix: ArrayLike) -> float:
    """Frobenius norm of the difference over the rows that are known in both; nan where there is none."""
    truth_PP, rows_PP = _pair(oracle, matrix)
    known_P = ~(np.isnan(truth_PP) | np.isnan(rows_PP)).any(axis=1)
    return float(np.linalg.norm((truth_PP - rows_PP)[known_P])) if known_P.any() else math.nan


def rank_correlations(oracle: ArrayLike, matrix: ArrayLike) -> F64:
    """Spearman's rank correlation of each row with the oracle's, without the peer's own weight.

    Ties have their mean rank. nan for an unknown row, for fewer than two neighbours, and where all neighbours have the
    same weight in either row.
    """
    truth_PP, rows_PP = _pair(oracle, matrix)
    others_PP = _others(rows_PP)
    return np.array([_spearman(t[o], r[o]) for t, r, o in zip(truth_PP, rows_PP, others_PP, strict=True)])


def _spearman(truth_K: F64, row_K: F64) -> float:
    if np.isnan(truth_K).any() or np.isnan(row_K).any():
        return math.nan
    a_K, b_K = (ranks - ranks.mean() if ranks.size else ranks for ranks in (_ranks(truth_K), _ranks(row_K)))
    scale = float(np.linalg.norm(a_K) * np.linalg.norm(b_K))
    return float(a_K @ b_K) / scale if scale > 0 else math.nan


def _ranks(values_K: F64) -> F64:
    """Mean rank of each value. Not `scipy.stats.rankdata`, because importing scipy.stats takes longer than the rest."""
    _, inverse_K, counts = np.unique(values_K, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[inverse_K]


def _others(rows_PP: F64) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return ~np.eye(len(rows_PP), dtype=bool)


def _square(matrix: ArrayLike) -> F64:
    rows_PP = np.asarray(matrix, dtype=np.float64)
    if rows_PP.ndim != 2 or rows_PP.shape[0] != rows_PP.shape[1]:
        raise ValueError(f"matrix must be square, got shape {rows_PP.shape}")
    return rows_PP


def _pair(oracle: ArrayLike, matrix: ArrayLike) -> tuple[F64, F64]:
    truth_PP, rows_PP = _square(oracle), _square(matrix)
    if truth_PP.shape != rows_PP.shape:
        raise ValueError(f"oracle must have shape {rows_PP.shape}, got {truth_PP.shape}")
    return truth_PP, rows_PP
