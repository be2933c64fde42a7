"""What each merge rule computes, by its name.

A rule gives either weights, by which adapters are summed and the sum is brought to one rank (`RuleFunctions`), or every
number by itself from the numbers of all adapters (`CoordinateFunction`).

Axes: K peers, entry 0 this one; V voices; N units of a group, or 1 where all have the same weights; S the largest rank,
R the rank of the result; X of a factor, what is not its rank, or the numbers of a piece.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from gossipllm.config.choices import MergeRule
from gossipllm.learning.merging.products.products import F64, MergeError, Pair, Products
from gossipllm.learning.merging.rules.coordinates import median, trimmed_mean
from gossipllm.learning.merging.rules.reweighting import centred_clip, fltrust, geometric_median, krum

PairsRule: TypeAlias = Callable[[Products, F64], tuple[list[Pair], MergeError]]
"""`(products, weights_NV)` to the factors of the result, and what these lack of the exact mixture."""

SurplusRule: TypeAlias = Callable[[F64, F64, int], F64]
"""`(wide_XS, gram_SS, rank)` to `kept_XR`, for a factor beside a frozen one: the mean over the largest rank S, the
inner products of the frozen factor's ranks, and the rank R of the result."""

Reweighting: TypeAlias = Callable[[F64, F64], F64]
"""`(inner_KK, row_K)` to the coefficients of a sum: the inner products of what peers add to the base in the units that
the same peers hold, and their weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFunctions:
    """A rule that sums adapters. What it can do stands in `gossipllm.config.choices.MERGE_RULES`."""

    pairs: PairsRule
    """For units of which both factors are trained."""

    surplus: SurplusRule
    """For units with one frozen factor, where others have more ranks than this peer."""

    by_factors: bool
    """Whether `pairs` averages the factors, so that the clip bounds their distances too."""

    reweighted: Reweighting | None = None
    """Turns the row into other coefficients; None for a rule that sums by the row."""


@dataclass(frozen=True, slots=True)
class CoordinateFunction:
    """A rule that takes each number by itself: `(values_KX, row_K)` to the numbers of the result."""

    combined: Callable[[F64, F64], F64]

    @property
    def by_factors(self) -> bool:
        return True


def cut_off(wide_XS: F64, gram_SS: F64, rank: int) -> F64:  # noqa: ARG001 - the form of a `SurplusRule`
    """The first ranks as they are."""
    return wide_XS[:, :rank]


def projected(wide_XS: F64, gram_SS: F64, rank: int) -> F64:
    """The nearest factor of the smaller rank: what lies beyond is projected on the span of the own frozen factor."""
    onto_SR = gram_SS[:, :rank] @ np.linalg.pinv(gram_SS[:rank, :rank], hermitian=True)
    return wide_XS[:, :rank] + wide_XS[:, rank:] @ onto_SR[rank:]


def _by(reweighted: Reweighting | None = None) -> RuleFunctions:
    """The best adapter for the sum by the row, or by what becomes of it."""
    return RuleFunctions(pairs=Products.svd, surplus=projected, by_factors=False, reweighted=reweighted)


RULE_FUNCTIONS: Final[dict[MergeRule, RuleFunctions | CoordinateFunction]] = {
    "svd": _by(),
    "mean": RuleFunctions(pairs=Products.averaged, surplus=cut_off, by_factors=True),
    "pad": RuleFunctions(pairs=Products.averaged, surplus=cut_off, by_factors=True),
    "krum": _by(krum),
    "geometric-median": _by(geometric_median),
    "centred-clip": _by(centred_clip),
    "fltrust": _by(fltrust),
    "median": CoordinateFunction(median),
    "trimmed": CoordinateFunction(trimmed_mean),
}
