"""Which of several neighbours are nearly identical, to each other or to this peer.

Two updates are nearly identical where the angle between them is small beside the angle by which this peer's own last
local steps turned its adapter: peers that train on texts of their own end at least that far apart, however long they
have been merging, and copies do not, whatever number they are multiplied by and however they are factorised. Two
predictions are nearly identical where their mean total variation is below what separates any two honest peers.
An update near zero is nearly identical to the untouched start, which everybody has.

Near-identity is not transitive: each neighbour is compared with the neighbours before it that stand for themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gossipllm.learning.merging.products.inner_products import InnerProducts

SELF: Final = -1
"""In place of an index: nearly identical to this peer's own, or to the untouched start."""

LEAST_ANGLE: Final = 1e-3
"""Sine of an angle below which updates are nearly identical in any case: what rounding to bfloat16 turns an update by.
"""

SHARE_OF_STEPS: Final = 0.1
"""Sine of the angle that makes two updates differ, as a share of the sine by which this peer's own steps turned its
adapter. Honest peers were at least 0.7 times as far apart as that turn (the run of `gossipllm.work.BIND_TOLERANCE`,
where all merge with all).
"""

NEGLIGIBLE: Final = 1e-3
"""An update whose norm is below this share of this peer's own holds nothing."""


def twins_of(count: int, near: Callable[[int, int], bool]) -> list[int]:
    """For each of `count` neighbours the index of the first one that stands for it: its own, or `SELF`.

    `near(k, j)` says whether neighbour k is nearly identical to neighbour j, and `near(k, SELF)` whether it is to this
    peer.
    """
    roots: list[int] = []
    twins: list[int] = []
    for each in range(count):
        twin = next((root for root in (SELF, *roots) if near(each, root)), each)
        twins.append(twin)
        if twin == each:
            roots.append(each)
    return twins


def sine(squares: tuple[float, float, float]) -> float:
    """Sine of the angle between two updates, from their squared norms and their inner product; 1 for an angle of 90
    degrees or more, and where one of the two is zero."""
    one, other, inner = squares
    if not (one > 0 and other > 0 and inner > 0):
        return 1.0
    # Two divisions: the product of the squares of hostile but finite updates exceeds float64.
    cosine_squared = (inner / one) * (inner / other)
    return max(0.0, 1.0 - cosine_squared) ** 0.5


def least_sine(before_after: InnerProducts) -> float:
    """Sine below which updates are nearly identical. `before_after` are the inner products of this peer's adapter
    before its last local steps and after."""
    return max(LEAST_ANGLE, SHARE_OF_STEPS * sine(before_after.between(0, 1)))


def sizes_of(inner: InnerProducts) -> list[float]:
    """The norm of each neighbour's update over that of this peer's own, which is adapter 0; over the units that both
    have."""
    squares = [inner.between(0, each) for each in range(1, inner.held_UV.shape[1])]
    return [
        (theirs / own) ** 0.5 if own > 0 else float("inf") if theirs > 0 else 0.0
        for own, theirs, _ in squares
    ]
