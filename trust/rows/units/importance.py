"""The choice of the block window to train next, from the importances of layers.

The importance of a layer is the sum of (gradient * parameter)² over its parameters, as in LEFF (layer-wise efficient
federated fine-tuning, Shen et al., NeurIPS 2025). A peer that trains or probes a layer measures it; a layer that was
not measured is None, not 0. Peers announce their importances, so a peer knows of layers that it never held.

    smoothed               running mean of a peer's own measurements
    combined               own and neighbours' importances, weighted by trust
    with_bonus             optimism: more for layers that are seldom measured
    window_probabilities   softmax over block windows, standardised or plain, with a floor
    drawn_window           the block window for a given random number

The sums have any scale (1e-8 to 1e-2 in one model, depending on optimiser and round), and neighbours may claim any
scale. So a vector counts in units of its own mean, the standardised softmax in units of its own spread, and no constant
in this file depends on the model. All functions are pure, so a choice can be replayed from the seed of its draw.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean, pstdev
from typing import Final, Literal, TypeAlias

Importance: TypeAlias = tuple[float | None, ...]
"""Importance by layer, 0 to L-1; None for a layer that no peer measured."""

Softmax: TypeAlias = Literal["standardised", "plain"]
"""The exponent of the softmax over block windows: the block window's importance in standard deviations of all block
windows, or the importance itself, as in LEFF."""

MAX_IMPORTANCE: Final = 1e100
"""Far above the largest float32, which is what a neighbour can claim, and low enough that all sums stay finite."""

MAX_SCALE: Final = 1000.0
"""Bound of the scale of the bonus; beyond it, importances make no difference."""

_ROUNDING: Final = 1e-12
"""Rounding error of numbers near 1. Standardising must not turn it into a difference between block windows."""


def smoothed(
    previous: Sequence[float | None], measured: Sequence[float | None], *, keep: float
) -> Importance:
    """Running mean by layer: `keep * previous + (1 - keep) * measured`, `keep` in [0, 1).

    The first measurement of a layer is taken unchanged; a layer that was not measured keeps its previous value.
    """
    if not 0 <= keep < 1:
        raise ValueError(f"keep must be in [0, 1), got {keep}")
    _check(previous)
    _check(measured, layers=len(previous))
    return tuple(_blend(before, now, keep) for before, now in zip(previous, measured, strict=True))


def combined(
    own: Sequence[float | None],
    others: Sequence[Sequence[float | None]],
    weights: Sequence[float],
    *,
    robust: bool = False,
) -> Importance:
    """Mean importance of each layer over the peers that measured it, by the trust row `weights` (`(K+1,)`, self first).

    `robust` takes the weighted lower median in place of the mean: peers with less than half of the weight of those that
    measured a layer cannot move it beyond what the others measured.

    Each vector is taken in units of the mean of its known layers, so its scale does not matter, and no value exceeds
    the number of layers that a peer claims to know. A vector of zeros counts as equal importances. A layer is None
    where no peer with a weight above 0 measured it.
    """
    if len(weights) != len(others) + 1:
        raise ValueError(f"weights must be {len(others) + 1}, one for each vector, got {len(weights)}")
    for weight in weights:
        if not 0 <= weight <= 1 + _ROUNDING:
            raise ValueError(f"weights must be in 0..1, got {weight}")
    for vector in (own, *others):
        _check(vector, layers=len(own))
    vectors = [_in_units(vector) for vector in (own, *others)]
    middle = _median if robust else _mean
    return tuple(middle(layer, weights) for layer in zip(*vectors, strict=True))


def with_bonus(
    importance: Sequence[float | None], counts: Sequence[int], *, rounds: int, scale: float
) -> Importance:
    """Add `scale * unit * sqrt(ln(1 + rounds) / (1 + n))` to a layer measured `n` times in `rounds` rounds.

    UCB1's bonus (Auer, Cesa-Bianchi and Fischer 2002), with 1 added to both counts, so that it is finite for a layer
    that was never measured. Unknown layers start from the mean of the known layers. The unit is the standard deviation
    of the known importances, or their mean where they are all equal, so that the scale of `importance` does not matter.
    Where no layer is known, all stay None.
    """
    _check(importance)
    if len(counts) != len(importance):
        raise ValueError(f"counts must be {len(importance)}, one for each layer, got {len(counts)}")
    if any(count < 0 for count in counts) or rounds < 0:
        raise ValueError(f"counts and rounds must be at least 0, got {tuple(counts)}, {rounds}")
    if not 0 <= scale <= MAX_SCALE:
        raise ValueError(f"scale must be in 0..{MAX_SCALE:g}, got {scale}")
    known = [value for value in importance if value is not None]
    if not known:
        return tuple(importance)
    middle = fmean(known)
    unit = scale * (pstdev(known) or middle)
    return tuple(
        (middle if value is None else value) + unit * math.sqrt(math.log1p(rounds) / (1 + count))
        for value, count in zip(importance, counts, strict=True)
    )


def window_probabilities(
    importance: Sequence[float | None],
    *,
    window: int,
    temperature: float,
    floor: float,
    softmax: Softmax = "standardised",
) -> tuple[float, ...]:
    """Probability to train each block window of `window` layers, by its first layer, `(L - window + 1,)`.

        standardised    p_k = (1 - floor) * softmax((I_k - mean) / (temperature * std)) + floor / K
        plain           p_k = (1 - floor) * softmax(I_k / temperature) + floor / K

    over K block windows, where I_k is the sum over block window k. LEFF (Shen et al., NeurIPS 2025) uses the plain form
    at temperature 1 without a floor. It depends on the unit of the importances: uniform for raw sums of 1e-8, one block
    window for sums of 1e3. `floor` in [0, 1] is the part that is uniform: above 0, every layer is trained infinitely
    often, which convergence needs. Layers that no peer measured count as the mean of the others. Block windows of
    equal importance, or of which nothing is known, are equally likely.
    """
    _check(importance)
    if not 1 <= window <= len(importance):
        raise ValueError(f"window must be in 1..{len(importance)}, got {window}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be finite and above 0, got {temperature}")
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in 0..1, got {floor}")
    layers = _filled(importance)
    scores = [math.fsum(layers[first : first + window]) for first in range(len(layers) - window + 1)]
    below = _below_best(scores) if softmax == "plain" else _standardised(scores)
    # Exactly uniform, where the formula would leave a rounding error.
    if not any(below):
        return (1 / len(scores),) * len(scores)
    weights = [math.exp(score / temperature) for score in below]
    whole = math.fsum(weights)
    return tuple((1 - floor) * weight / whole + floor / len(scores) for weight in weights)


def drawn_window(probabilities: Sequence[float], draw: float) -> int:
    """Index of the block window at `draw`, in [0, 1), of the distribution; never one of probability 0."""
    if not 0 <= draw < 1:
        raise ValueError(f"draw must be in [0, 1), got {draw}")
    possible = [k for k, probability in enumerate(probabilities) if probability > 0]
    if not possible:
        raise ValueError("probabilities must have one above 0, got none")
    ends = list(accumulate(probabilities[k] for k in possible))
    # Because of rounding, the last end may lie below the draw.
    return possible[min(bisect_right(ends, draw), len(possible) - 1)]


def round_robin(round: int, windows: int) -> int:  # noqa: A002 - a round is called a round
    """First layer of the block window to train in `round`, where all `windows` block windows take turns."""
    if windows < 1:
        raise ValueError(f"windows must be at least 1, got {windows}")
    return round % windows


def _below_best(scores: Sequence[float]) -> list[float]:
    """Differences to the best score, at most 0. The softmax is the same, and no exponent overflows."""
    best = max(scores)
    return [score - best for score in scores]


def _standardised(scores: Sequence[float]) -> list[float]:
    """Differences to the best score in standard deviations; all 0 where only rounding makes scores differ."""
    # In units of the largest first, because the squares of very small numbers would be 0.
    most = max(scores) or 1.0
    scores = [score / most for score in scores]
    middle = fmean(scores)
    spread = math.sqrt(fmean((score - middle) ** 2 for score in scores))
    if spread <= _ROUNDING:
        return [0.0] * len(scores)
    return [below / spread for below in _below_best(scores)]


def _blend(before: float | None, now: float | None, keep: float) -> float | None:
    if before is None or now is None:
        return before if now is None else now
    return keep * before + (1 - keep) * now


def _in_units(vector: Sequence[float | None]) -> Importance:
    known = [value for value in vector if value is not None]
    whole = math.fsum(known)
    if not whole:
        return tuple(None if value is None else 1.0 for value in vector)
    return tuple(None if value is None else value / whole * len(known) for value in vector)


def _mean(layer: Sequence[float | None], weights: Sequence[float]) -> float | None:
    held = [(value, weight) for value, weight in zip(layer, weights, strict=True) if value is not None]
    whole = math.fsum(weight for _, weight in held)
    if not whole:
        return None
    return math.fsum(value * (weight / whole) for value, weight in held)


def _median(layer: Sequence[float | None], weights: Sequence[float]) -> float | None:
    held = sorted(
        (value, weight) for value, weight in zip(layer, weights, strict=True) if value is not None and weight
    )
    half, below = math.fsum(weight for _, weight in held) / 2, 0.0
    for value, weight in held:
        below += weight
        if below >= half * (1 - _ROUNDING):
            return value
    return None


def _filled(importance: Sequence[float | None]) -> list[float]:
    known = [value for value in importance if value is not None]
    middle = fmean(known) if known else 1.0
    return [middle if value is None else value for value in importance]


def _check(vector: Sequence[float | None], *, layers: int | None = None) -> None:
    if layers is not None and len(vector) != layers:
        raise ValueError(f"importance must be of {layers} layers, got {len(vector)}")
    for value in vector:
        if value is not None and not 0 <= value <= MAX_IMPORTANCE:
            raise ValueError(f"importance must be in 0..{MAX_IMPORTANCE:.3g}, got {value}")
