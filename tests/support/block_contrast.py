"""How much more peers of one group take from each other than from peers of other groups."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike


def within_over_across(matrix: ArrayLike, groups: Sequence[Hashable]) -> float:
    """Mean weight of a pair of one group over that of a pair of two groups, the peers' own weights aside.

    1 for a uniform matrix, infinite where nothing crosses; nan where a kind has no pair, or nobody
    takes anything from anyone. Rows of nan are unknown and left out.
    """
    rows_PP = np.asarray(matrix, dtype=np.float64)
    if len(groups) != len(rows_PP):
        raise ValueError(f"groups must have one entry for each of {len(rows_PP)} peers, got {len(groups)}")
    same = np.array([[mine == theirs for theirs in groups] for mine in groups], dtype=bool)
    pairs = ~np.eye(len(rows_PP), dtype=bool) & ~np.isnan(rows_PP)
    within, across = rows_PP[pairs & same], rows_PP[pairs & ~same]
    if within.size == 0 or across.size == 0:
        return math.nan
    inside, outside = float(within.mean()), float(across.mean())
    if outside == 0:
        return math.inf if inside > 0 else math.nan
    return inside / outside
