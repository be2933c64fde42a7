"""How much each layer matters -> which window of layers to train next.

A layer's importance is the sum of (gradient * parameter)² over its parameters, as in the layer-wise federated
fine-tuning whose windows these are. Whoever trains or probes a layer measures it; what one has not measured is
None, which is not 0. Peers tell each other, so a peer knows of layers that it never held.

    smoothed               own measurements over rounds
    combined               own and neighbours', by trust
    with_bonus             more for layers seldom seen
    window_probabilities   softmax over block windows, standardised or plain, with a floor
    drawn_window           one of them, for a given draw

The sums are of any scale (1e-8 to 1e-2 in one model, by optimiser and round), and neighbours may claim any. So
a vector counts in units of its own mean, the standardised softmax in units of its own spread, and nothing here has
a constant that depends on the model. All is a function of its arguments: who knows the seed of the draw can replay it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean, pstdev
from typing import Final, Literal, TypeAlias

Importance: TypeAlias = tuple[float | None, ...]
"""By layer, 0 to L-1; None for a layer that nobody measured."""

Softmax: TypeAlias = Literal["standardised", "plain"]
"""What the exponent of the softmax over block windows is: the window's importance in standard deviations of all
windows, or the importance itself, as in LEFF."""

MAX_IMPORTANCE: Final = 1e100
"""Far above the largest float32, which is what a neighbour can claim, and low enough that all sums stay finite."""

MAX_SCALE: Final = 1000.0
"""Bound of the bonus's scale: no importance would be left beside it."""

_ROUNDING: Final = 1e-12
"""How far numbers near 1 may be off by rounding. It must not be standardised into a difference of windows."""


def smoothed(
    previous: Sequence[float | None], measured: Sequence[float | None], *, keep: float
) -> Importance:
    """Running mean by layer: `keep * previous + (1 - keep) * measured`, `keep` in [0, 1).

    A first measurement is taken as it is, and a layer not measured keeps what it had.
    """
    if not 0 <= keep < 1:
        raise ValueError(f"keep must be in [0, 1), got {keep}")
    _check(previous)
    _check(measured, layers=len(previous))
    return tuple(_blend(before, now, keep) for before, now in zip(previous, measured, strict=True))


def combined(
    own: Sequence[float | None], others: Sequence[Sequence[float | None]], weights: Sequence[float]
) -> Importance:
    """By layer, the mean over those that measured it, by the trust row `weights` (`(K+1,)`, self first).

    Each vector is taken in units of the mean of its known layers, so that its scale does not matter: no claim
    passes the number of layers claimed, whatever it says. All zeros say that the layers are alike. None where no
    peer with a weight above 0 measured the layer.
    """
    if len(weights) != len(others) + 1:
        raise ValueError(f"weights must be {len(others) + 1}, one for each vector, got {len(weights)}")
    for weight in weights:
        if not 0 <= weight <= 1 + _ROUNDING:
            raise ValueError(f"weights must be in 0..1, got {weight}")
    for vector in (own, *others):
        _check(vector, layers=len(own))
    vectors = [_in_units(vector) for vector in (own, *others)]
    return tuple(_mean(layer, weights) for layer in zip(*vectors, strict=True))


def with_bonus(
    importance: Sequence[float | None], counts: Sequence[int], *, rounds: int, scale: float
) -> Importance:
    """Optimism: `scale * unit * sqrt(ln(1 + rounds) / (1 + n))` more for a layer seen `n` times in `rounds` rounds.

    Unknown layers begin at the mean of the known ones. The unit is the standard deviation of the known ones, or
    their mean where they are all equal, so that the unit of `importance` does not matter. UCB1's bonus (Auer,
    Cesa-Bianchi and Fischer 2002), with one added to both counts, so that a layer never seen has one too.
    Nothing known stays nothing known.
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
    """Of each window of `window` layers, by its first layer, `(L - window + 1,)`: the chance that it is trained.

        standardised    p_k = (1 - floor) * softmax((I_k - mean) / (temperature * std)) + floor / K
        plain           p_k = (1 - floor) * softmax(I_k / temperature) + floor / K

    over K windows, I_k the sum over window k. LEFF (Shen et al., NeurIPS 2025) has the plain one, at temperature 1
    without a floor. It depends on the unit of the importances: flat for raw sums of 1e-8, one window for sums of
    1e3. `floor` in [0, 1] is the part that no importance decides: above 0, every layer is trained again and again,
    which convergence needs. Layers that nobody measured count as the mean of the others. Windows
    that matter equally, or of which nothing is known, are equally likely.
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
    if not any(below):
        return (1 / len(scores),) * len(scores)
    weights = [math.exp(score / temperature) for score in below]
    whole = math.fsum(weights)
    return tuple((1 - floor) * weight / whole + floor / len(scores) for weight in weights)


def drawn_window(probabilities: Sequence[float], draw: float) -> int:
    """The window at `draw`, in [0, 1), of the distribution; never one of probability 0."""
    if not 0 <= draw < 1:
        raise ValueError(f"draw must be in [0, 1), got {draw}")
    possible = [k for k, probability in enumerate(probabilities) if probability > 0]
    if not possible:
        raise ValueError("probabilities must have one above 0, got none")
    ends = list(accumulate(probabilities[k] for k in possible))
    # Rounding may leave the last end below the draw.
    return possible[min(bisect_right(ends, draw), len(possible) - 1)]


def round_robin(round: int, windows: int) -> int:  # noqa: A002 - a round is called a round
    """The first layer of the window of this round, each of `windows` in its turn."""
    if windows < 1:
        raise ValueError(f"windows must be at least 1, got {windows}")
    return round % windows


def _below_best(scores: Sequence[float]) -> list[float]:
    """Differences to the best score, at most 0: the same softmax, and no exponent overflows."""
    best = max(scores)
    return [score - best for score in scores]


def _standardised(scores: Sequence[float]) -> list[float]:
    """Differences to the best score in standard deviations; all 0 where only rounding makes scores differ."""
    # First in units of the largest: squares of denormal numbers would be 0.
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
