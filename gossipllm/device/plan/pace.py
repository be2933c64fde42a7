"""The time of a pass through the model as a straight line in its tokens: `t(n) = fixed_s + token_s * n`.

The fixed part is what a pass takes however small it is: launches, memory traffic of the weights, Python. It is the
amortised form of the roofline (Williams et al. 2009): below `knee = fixed_s / token_s` tokens a pass is bound by the
fixed part, above it by arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepPace:
    """Seconds of a training pass, forward and backward."""

    fixed_s: float
    token_s: float

    def __post_init__(self) -> None:
        if not (0 <= self.fixed_s < math.inf and 0 < self.token_s < math.inf):
            raise ValueError(
                f"a pace needs fixed_s >= 0 and token_s > 0, got {self.fixed_s} and {self.token_s}"
            )

    @property
    def knee(self) -> float:
        """Tokens of a pass at which its fixed part takes half of its time."""
        return self.fixed_s / self.token_s

    def step_s(self, tokens: float, at_once: float) -> float:
        """Seconds of an optimiser step of so many tokens, of which at most `at_once` go through the model at a time."""
        return math.ceil(tokens / at_once) * self.fixed_s + tokens * self.token_s


def fitted(points: Sequence[tuple[int, float]]) -> StepPace:
    """The pace of (tokens, seconds), by least squares of relative errors, so that short passes count as much as long
    ones. Neither part is below 0."""
    if not points or not all(tokens > 0 and seconds > 0 for tokens, seconds in points):
        raise ValueError(f"a pace is fitted to passes of some tokens and seconds, got {list(points)}")
    weights = [1 / seconds**2 for _, seconds in points]
    total = math.fsum(weights)
    mean_n = math.fsum(w * n for w, (n, _) in zip(weights, points, strict=True)) / total
    mean_s = math.fsum(w * s for w, (_, s) in zip(weights, points, strict=True)) / total
    spread = math.fsum(w * (n - mean_n) ** 2 for w, (n, _) in zip(weights, points, strict=True))
    slope = (
        math.fsum(w * (n - mean_n) * (s - mean_s) for w, (n, s) in zip(weights, points, strict=True)) / spread
        if spread > 0
        else mean_s / mean_n
    )
    fixed_s = mean_s - slope * mean_n
    if slope <= 0 or fixed_s < 0:
        # Noise gave the line a sign that no device has: all of the time is the tokens'.
        return StepPace(0.0, math.fsum(w * n * s for w, (n, s) in zip(weights, points, strict=True))
                    / math.fsum(w * n * n for w, (n, _) in zip(weights, points, strict=True)))  # fmt: skip
    return StepPace(fixed_s, slope)
