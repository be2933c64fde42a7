"""Robust merge rules that are themselves weighted sums of adapters: from a row and inner products to other weights.

Each takes the inner products of what K adapters add to the base, entry 0 this peer's own, and a row, and gives the
coefficients of the sum that the rule stands for. No product is formed, adapters may differ in rank, and any trust row
can be put before a rule: equal weights give the published rule, and a larger weight counts like more copies. Those of
weight 0 have no say.

* `krum` (Blanchard et al., NeurIPS 2017, arXiv 1703.02757) takes the one adapter that has the least sum of squared
  distances to its nearest neighbours.
* `geometric_median` (Weiszfeld's iteration; for learning, Pillutla, Kakade and Harchaoui, arXiv 1912.13445) minimises
  the weighted sum of distances. Adapters of less than half of the weight cannot move it beyond bounds.
* `centred_clip` (ClippedGossip, He, Karimireddy and Jaggi, arXiv 2202.01545) clips each neighbour's difference from
  this peer to a radius before it averages.
* `fltrust` (Cao et al., NDSS 2021, arXiv 2012.13995) weighs by the cosine with this peer's own update where it is
  positive, and brings each update to this peer's size.

Krum and the geometric median take peers with rare text for outliers, because they ask what most are like.

Axes: K peers, the first this peer.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gossipllm.learning.merging.averages import F64

_STEPS: Final = 200
"""Most iterations of Weiszfeld. They are of K x K matrices, and end early where the weights stand still."""
_STILL: Final = 1e-12
"""Change of the largest weight at which the iteration ends."""
_NEAREST: Final = 1e-9
"""Least distance that counts in an iteration, in times the median distance of neighbours from this peer: at an adapter
itself the weights would otherwise be infinite (the smoothing of arXiv 1912.13445)."""
_ROUNDING: Final = 1e-9
"""Sums of weights that differ by less are equal."""


def krum(inner_KK: F64, row_K: F64) -> F64:
    """All weight to the adapter with the least score: the sum of weighted squared distances to its nearest adapters,
    of which it counts the fewest that hold more than half of the weight together with itself.

    With equal weights those are n - f - 2 others for the largest f that the authors allow, 2 f + 2 < n. Of equal scores
    the first wins, so this peer among two.
    """
    squares_KK = _squares(inner_KK)
    scores = np.full(len(row_K), np.inf)
    for one in np.flatnonzero(row_K):
        others = [each for each in np.argsort(squares_KK[one], kind="stable") if each != one and row_K[each]]
        held, scores[one] = row_K[one], 0.0
        for each in others:
            if held > row_K.sum() / 2 + _ROUNDING:
                break
            held += row_K[each]
            scores[one] += row_K[each] * squares_KK[one, each]
    return np.eye(len(row_K))[np.argmin(scores)] * row_K.sum()


def geometric_median(inner_KK: F64, row_K: F64) -> F64:
    """The weights of the point with the least weighted sum of distances to the adapters."""
    squares_KK = _squares(inner_KK)
    away = (squares_KK[0] > 0) & (row_K > 0)
    if not away.any():
        return row_K
    least = _NEAREST * _weighted_median(np.sqrt(squares_KK[0][away]), row_K[away])
    weights_K = row_K / row_K.sum()
    for _ in range(_STEPS):
        inside = weights_K @ squares_KK @ weights_K / 2
        distances_K = np.sqrt(np.maximum(squares_KK @ weights_K - inside, 0.0))
        pulls_K = row_K / np.maximum(distances_K, least)
        moved_K = pulls_K / pulls_K.sum()
        change = np.abs(moved_K - weights_K).max()
        weights_K = moved_K
        if change < _STILL:
            break
    return weights_K * row_K.sum()


def centred_clip(inner_KK: F64, row_K: F64) -> F64:
    """Each neighbour's weight, times the radius over its distance where that is larger; the rest is this peer's.

    The radius is the distance within which half of the neighbours' weight lies: no minority of them can raise it beyond
    an honest distance. The authors leave the choice open. A single neighbour is therefore never clipped.
    """
    distances_K = np.sqrt(_squares(inner_KK)[0])
    others_K = row_K.copy()
    others_K[0] = 0.0
    if not others_K.any():
        return row_K
    radius = _weighted_median(distances_K, others_K)
    beyond_K = distances_K > radius
    kept_K = np.divide(radius, distances_K, out=np.ones_like(distances_K), where=beyond_K)
    clipped_K = others_K * kept_K
    clipped_K[0] = row_K.sum() - clipped_K.sum()
    return clipped_K


def fltrust(inner_KK: F64, row_K: F64) -> F64:
    """`sum_j t_j (|own| / |j|) D_j / sum_j t_j` with `t_j = w_j max(0, cos(D_j, own))`: coefficients that need not sum
    to 1. This peer counts as itself with its own weight; where nobody has a positive cosine, it keeps everything.

    The authors' server holds the root text and takes no part in the mean; here every peer's own update is the root.
    """
    sizes_K = np.sqrt(np.maximum(np.diagonal(inner_KK), 0.0))
    some_K = (sizes_K > 0) & (sizes_K[0] > 0)
    # Two divisions: the product of the sizes of hostile but finite updates may exceed float64.
    cosines_K = np.divide(inner_KK[0], np.where(some_K, sizes_K, 1.0)) / (sizes_K[0] or 1.0)
    trust_K = row_K * np.where(some_K, np.clip(cosines_K, 0.0, 1.0), 0.0)
    if not trust_K.any():
        return np.eye(len(row_K))[0] * row_K.sum()
    ratios_K = sizes_K[0] / np.where(some_K, sizes_K, 1.0)
    return trust_K / trust_K.sum() * ratios_K * row_K.sum()


def _squares(inner_KK: F64) -> F64:
    """Squared distances."""
    own_K = np.diagonal(inner_KK)
    return np.maximum(own_K[:, None] + own_K[None] - 2 * inner_KK, 0.0) * (1 - np.eye(len(own_K)))


def _weighted_median(values: F64, weights: F64) -> float:
    """The least value up to which half of the weight lies."""
    order = np.argsort(values, kind="stable")
    held = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(held, held[-1] * (0.5 - _ROUNDING))])
