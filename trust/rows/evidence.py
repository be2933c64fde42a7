"""Distances between this peer and a neighbour, with standard errors, from three kinds of evidence.

The kinds follow the three strategies of Wagner, Fan and Jaggi (2024, arXiv 2404.09753), each in a form whose scale
does not depend on the model: the cosine of the effective updates rather than of the factors, probabilities rather than
raw logits (whose offset differs between models), and losses on the same windows for all neighbours. The published
forms are in `baselines/published.py`, FedFomo's measure is in `baselines/fomo.py`.

Axes: R reference rows (R rank, for factors), K kept entries of a row, M the 2 K entries of both sides, I inputs,
O outputs, W windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[np.floating[Any]]

MAX_DISTANCE = 1e100
"""Largest distance and error. Larger ones count as infinite; up to it, sums and squares of several stay finite."""


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance: its mean, and its standard error, which is 0 where none is known."""

    mean: float
    error: float


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbour as the computation of a row sees it.

    `distances` has one entry for each kind of evidence of the strategy, in its order (`config.evidence_of`), and `own`
    holds the same measures of this peer itself. `age` is in rounds. `tokens` and `samples` are the neighbour's claims
    about its text, by the count that `TrustConfig.tokens_count` names.
    """

    peer: str
    name: str
    distances: tuple[Distance, ...]
    own: tuple[float, ...]
    age: int
    tokens: int = 0
    samples: int = 0
    round: int = 0
    """The round of this peer, not the neighbour's, that the row is for."""
    scale: str = ""
    """Names the neighbours whose distances can be held against its own: those of one base, where they are compared
    across tokenizers; empty for all others."""


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The low-rank update `B A` of one module: `a_RI` and `b_OR`, finite. Ranks may differ between peers."""

    a_RI: Floats
    b_OR: Floats


class Predictions(Protocol):
    """Top-k predictions on the reference set.

    Token ids, strictly rising in each row; their log-probabilities; and the probability of all other tokens together.
    """

    @property
    def ids_RK(self) -> NDArray[np.uint32]: ...
    @property
    def logp_RK(self) -> Floats: ...
    @property
    def tail_R(self) -> Floats: ...


def weight_distance(mine: Mapping[str, Factors], theirs: Mapping[str, Factors]) -> Distance:
    """1 - cosine of the effective updates `B A` of all modules as one vector, in [0, 2], without an error.

    A module that one side lacks counts as zero there. A LoRA scale shared by all modules of a side cancels. Two zero
    updates have distance 0; a zero update has no direction, so its distance to any other is 1. Raises `ValueError`
    where the shapes of a module do not fit or a value is not finite.

    The products `B A` are compared, not the factors: `(B M)(M^-1 A)` is the same update for every invertible M.
    """
    product = math.fsum(
        _inner(mine[module], theirs[module], module) for module in mine.keys() & theirs.keys()
    )
    my_norm, their_norm = _norm(mine), _norm(theirs)
    if my_norm == 0 or their_norm == 0:
        return Distance(0.0 if my_norm == their_norm else 1.0, 0.0)
    # Two divisions: the product of the norms of hostile but finite float32 updates exceeds float64.
    cosine = product / my_norm / their_norm
    return Distance(min(max(1 - cosine, 0.0), 2.0), 0.0)


def prediction_distance(mine: Predictions, theirs: Predictions) -> Distance:
    """Mean over rows of the total variation between top-k distributions, in [0, 1] for rows that sum to 1.

    A row is the K kept probabilities and one bucket for the tail. A token that a side did not keep counts as 0 there,
    although it may hold part of that side's tail: otherwise two rows with disjoint supports and large tails would look
    equal. It is half an L1 distance, hence a metric.

    Against the total variation TV over the whole vocabulary a row errs to both sides:

        TV - min(tails)  <=  distance  <=  TV + max(part of a side's tail on tokens that only the other side kept)

    Mostly it errs downwards, because two tails of one mass count as equal, whatever tokens they hold: where both sides
    keep nearly nothing (K = 2 of 50,257) the distance can be 0 for rows whose whole tails are apart. Upwards it errs by
    at most K times the smallest probability that a side kept.

    The standard error treats rows as independent. Rows of one window are not, so it is somewhat too small; it is 0 for
    one row. Raises `ValueError` where the shapes differ, there is no row or a value is not finite.
    """
    if mine.ids_RK.shape != theirs.ids_RK.shape:
        raise ValueError(
            f"predictions must have the same shape, got {mine.ids_RK.shape} and {theirs.ids_RK.shape}"
        )
    my_mass_RK, their_mass_RK = _masses(mine), _masses(theirs)
    ids_RM = np.concatenate((mine.ids_RK, theirs.ids_RK), axis=1)
    mass_RM = np.concatenate((my_mass_RK, their_mass_RK), axis=1)
    # An id occurs at most once on each side, so after sorting, shared ids are adjacent, and
    # sum |p - q| = sum p + sum q - 2 sum of min(p, q) over the shared ids. No vector of V probabilities is built.
    order_RM = np.argsort(ids_RM, axis=1, kind="stable")
    ids_RM = np.take_along_axis(ids_RM, order_RM, axis=1)
    mass_RM = np.take_along_axis(mass_RM, order_RM, axis=1)
    both = ids_RM[:, 1:] == ids_RM[:, :-1]
    shared_R = np.where(both, np.minimum(mass_RM[:, 1:], mass_RM[:, :-1]), 0.0).sum(axis=1)
    tails_R = np.abs(np.subtract(mine.tail_R, theirs.tail_R, dtype=np.float64))
    total_R = my_mass_RK.sum(axis=1) + their_mass_RK.sum(axis=1) - 2 * shared_R + tails_R
    return mean_distance(np.maximum(total_R / 2, 0.0), "predictions")


def validation_distance(mine_W: Floats, theirs_W: Floats) -> Distance:
    """How much higher the loss of the neighbour's model is on this peer's windows: mean of theirs - mine, in nats.

    Negative where the neighbour's model is better. Both losses are of the same windows in the same order, so windows
    that are hard for both models do not add to the standard error, which is 0 for one window. Raises `ValueError` where
    the lengths differ or are 0, or a loss is not finite: callers decline a neighbour whose loss is not finite.
    """
    if mine_W.ndim != 1 or mine_W.shape != theirs_W.shape:
        raise ValueError(
            f"losses must be of the same windows, got shapes {mine_W.shape} and {theirs_W.shape}"
        )
    return mean_distance(np.subtract(theirs_W, mine_W, dtype=np.float64), "losses")


def mean_distance(values: F64, what: str) -> Distance:
    """Mean of independent values and its standard error, which is 0 for one value.

    Raises `ValueError` that names `what` where there is no value or one is not finite.
    """
    count = values.size
    if count == 0:
        raise ValueError(f"{what} must not be empty")
    mean = float(values.mean())
    if not math.isfinite(mean):
        raise ValueError(f"{what} must be finite, their mean distance is {mean}")
    return Distance(mean, float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0)


def _inner(mine: Factors, theirs: Factors, module: str) -> float:
    """<B1 A1, B2 A2> = tr(A1' B1' B2 A2) = sum((B1' B2) * (A1 A2')), through R x R matrices only."""
    if mine.a_RI.shape[1] != theirs.a_RI.shape[1] or mine.b_OR.shape[0] != theirs.b_OR.shape[0]:
        raise ValueError(f"module {module}: {_sizes(mine)} does not fit {_sizes(theirs)}")
    for factors in (mine, theirs):
        if factors.b_OR.shape[1] != factors.a_RI.shape[0]:
            raise ValueError(f"module {module}: the factors of {_sizes(factors)} differ in rank")
    b_RR = mine.b_OR.T.astype(np.float64) @ theirs.b_OR.astype(np.float64)
    a_RR = mine.a_RI.astype(np.float64) @ theirs.a_RI.T.astype(np.float64)
    inner = float(np.sum(b_RR * a_RR))
    if not math.isfinite(inner):
        raise ValueError(f"module {module}: an update must be finite")
    return inner


def _norm(update: Mapping[str, Factors]) -> float:
    square = math.fsum(_inner(factors, factors, module) for module, factors in update.items())
    return math.sqrt(max(square, 0.0))


def _sizes(factors: Factors) -> str:
    return f"A {factors.a_RI.shape}, B {factors.b_OR.shape}"


def _masses(predictions: Predictions) -> F64:
    if predictions.logp_RK.shape != predictions.ids_RK.shape:
        raise ValueError(f"logp must have shape {predictions.ids_RK.shape}, got {predictions.logp_RK.shape}")
    if predictions.tail_R.shape != predictions.ids_RK.shape[:1]:
        raise ValueError(
            f"tail must have shape {predictions.ids_RK.shape[:1]}, got {predictions.tail_R.shape}"
        )
    return np.exp(predictions.logp_RK, dtype=np.float64)
