"""The distances and rows of Wagner, Fan and Jaggi (2024, arXiv 2404.09753) as published, in text and released code.

They reproduce the publication with its faults and serve comparison; use the forms in `evidence.py` otherwise. The
faults in short: factors are defined only up to an invertible matrix, so their cosine says little about the update;
perplexity is an exponential, so its differences are large where the text is hard; and the offset of raw logits differs
between models, so the zero that stands for a token that was not kept may exceed the logits of all kept tokens.

Axes: R reference rows, K kept entries of a row, M the 2 K entries of both sides, W windows. A tensor of the adapter
is A (rank, inputs) or B (outputs, rank), the transpose of the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trust.rows.evidence import MAX_DISTANCE, Distance, Floats, Neighbour, mean_distance
from trust.rows.softmax import softmax

_SMALLEST_NORM = 1e-8
"""Lower bound of norms in torch's `cosine_similarity`, so that a row of zeros has cosine 0 with every row."""

CODE_SHARPNESS = 10.0
"""Factor of logit distances in the exponent, after they are scaled to sum to 1 over the row. From the released code;
the paper does not mention it."""


class Logits(Protocol):
    """Top-k raw logits on the reference set; token ids rise strictly in each row."""

    @property
    def ids_RK(self) -> NDArray[np.uint32]: ...
    @property
    def logits_RK(self) -> Floats: ...


def parameter_distance(mine: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> Distance:
    """1 - cosine of all tensors as one vector, in [0, 2] (equation 2); no error is known.

    Two zero vectors have distance 0; the distance of a zero vector to any other is 1. Raises `ValueError` where the
    tensors differ in name or shape, or a value is not finite.
    """
    pairs = _pairs(mine, theirs)
    product = math.fsum(float(np.vdot(a, b)) for a, b in pairs)
    my_norm = math.sqrt(math.fsum(float(np.vdot(a, a)) for a, _ in pairs))
    their_norm = math.sqrt(math.fsum(float(np.vdot(b, b)) for _, b in pairs))
    if my_norm == 0 or their_norm == 0:
        return Distance(0.0 if my_norm == their_norm else 1.0, 0.0)
    return Distance(min(max(1 - product / my_norm / their_norm, 0.0), 2.0), 0.0)


def row_cosine_distance(mine: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> Distance:
    """1 - mean cosine of the rows of all factors, in [0, 2], as the released code computes strategy 1.

    The paper's rows are our columns: one for each input of an A, one for each rank of a B. All rows have equal weight,
    so A makes up nearly all of the mean (99.7 % for GPT-2 at rank 4). Raises `ValueError` as `parameter_distance`.
    """
    cosines = np.concatenate([_column_cosines(a, b) for a, b in _pairs(mine, theirs)])
    return Distance(min(max(1 - float(cosines.mean()), 0.0), 2.0), 0.0)


def perplexity_distance(mine_W: Floats, theirs_W: Floats) -> Distance:
    """Perplexity of the neighbour's model minus that of this peer's model, as the released code computes strategy 2.

    Losses in nats per token. The two sides may be of different windows, because the code draws new windows for every
    pair of peers. Clipped to +-1e100. No error is known. Raises `ValueError` where a side is empty or not finite.
    """
    mine, theirs = _perplexity(mine_W), _perplexity(theirs_W)
    return Distance(theirs - mine, 0.0)


def logit_distance(mine: Logits, theirs: Logits) -> Distance:
    """Mean over rows of the L1 distance of the logits, where a token that a side did not keep counts as 0.

    Equation 4 on the sparse logits of section 3.3, and strategy 3 of the released code before it divides by the sum
    over the row. Raises `ValueError` where the shapes differ, there is no row or a value is not finite.
    """
    if mine.ids_RK.shape != theirs.ids_RK.shape:
        raise ValueError(
            f"logits must have the same shape, got {mine.ids_RK.shape} and {theirs.ids_RK.shape}"
        )
    for side in (mine, theirs):
        if side.logits_RK.shape != side.ids_RK.shape:
            raise ValueError(f"logits must have shape {side.ids_RK.shape}, got {side.logits_RK.shape}")
    ids_RM = np.concatenate((mine.ids_RK, theirs.ids_RK), axis=1)
    signed_RM = np.concatenate(
        (mine.logits_RK.astype(np.float64), -theirs.logits_RK.astype(np.float64)), axis=1
    )
    # An id occurs at most once on each side, so shared ids are adjacent after sorting. Their |p| + |q| counted in the
    # first sum is replaced by |p - q|; q is stored with the opposite sign, so |p - q| is |left + right|.
    order_RM = np.argsort(ids_RM, axis=1, kind="stable")
    ids_RM = np.take_along_axis(ids_RM, order_RM, axis=1)
    signed_RM = np.take_along_axis(signed_RM, order_RM, axis=1)
    left, right = signed_RM[:, :-1], signed_RM[:, 1:]
    apart = np.abs(left) + np.abs(right) - np.abs(left + right)
    both = ids_RM[:, 1:] == ids_RM[:, :-1]
    total_R = np.abs(signed_RM).sum(axis=1) - np.where(both, apart, 0.0).sum(axis=1)
    return mean_distance(np.maximum(total_R, 0.0), "logits")


def published_weights(neighbours: Sequence[Neighbour]) -> list[float]:
    """softmax(-d), with the peer itself first and at distance 0.

    This equals the softmax of the cosines, or of minus the losses or perplexities. There is no temperature, so the
    sharpness depends on the unit of the evidence; it is kept for comparison.
    """
    return softmax(_distances(neighbours))


def sharpened_weights(neighbours: Sequence[Neighbour]) -> list[float]:
    """softmax(-10 d / sum of d), as the released code computes rows from logit distances.

    Because of the sum, the sharpness falls with the number of peers.
    """
    distances = _distances(neighbours)
    whole = math.fsum(distances) or 1.0
    return softmax([CODE_SHARPNESS * distance / whole for distance in distances])


def _distances(neighbours: Sequence[Neighbour]) -> list[float]:
    return [0.0, *(each.distances[0].mean for each in neighbours)]


def _pairs(
    mine: Mapping[str, Floats], theirs: Mapping[str, Floats]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    if mine.keys() != theirs.keys() or not mine:
        raise ValueError(f"tensors must be the same, got {sorted(mine)} and {sorted(theirs)}")
    pairs = [(mine[name].astype(np.float64), theirs[name].astype(np.float64)) for name in sorted(mine)]
    for name, (a, b) in zip(sorted(mine), pairs, strict=True):
        if a.shape != b.shape or a.ndim != 2:
            raise ValueError(f"{name} must be a matrix of one shape, got {a.shape} and {b.shape}")
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ValueError(f"{name} must be finite")
    return pairs


def _column_cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = (np.maximum(np.linalg.norm(each, axis=0), _SMALLEST_NORM) for each in (a, b))
    a_norm, b_norm = norms
    return ((a / a_norm) * (b / b_norm)).sum(axis=0)


def _perplexity(losses_W: Floats) -> float:
    mean = float(losses_W.mean(dtype=np.float64)) if losses_W.size else math.nan
    if not math.isfinite(mean):
        raise ValueError(f"losses must be finite and at least one, their mean is {mean}")
    return math.exp(min(mean, math.log(MAX_DISTANCE / 2)))
