"""Inner products between what several adapters add to the base, unit by unit, without forming a product.

    <B1 A1, B2 A2> = sum((B1' B2) * (A1 A2'))

needs only matrices of the adapters' ranks. Norms, distances and angles of any two adapters follow from these numbers.

Axes: V adapters, S the sum of their ranks, U units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gossipllm.learning.merging.averages import F64
from gossipllm.learning.merging.products.factors import factors_of
from gossipllm.model.adapter.blueprint import Blueprint
from trust.rows.evidence import Factors
from wire.floats import F32


@dataclass(frozen=True, slots=True, eq=False)
class OfferedPieces:
    """The pieces of some units of an adapter of this rank."""

    rank: int
    units: tuple[int, ...]
    pieces: Mapping[str, F32]


@dataclass(frozen=True, slots=True, eq=False)
class InnerProducts:
    """`inner_UVV`, in float64, and `held_UV`: which adapter has which unit. A unit that an adapter lacks counts as
    zeros."""

    inner_UVV: F64
    held_UV: NDArray[np.bool_]

    def between(self, one: int, other: int) -> tuple[float, float, float]:
        """Squared norm of `one`, of `other`, and their inner product, over the units that both have."""
        both_U = self.held_UV[:, one] & self.held_UV[:, other]
        inner_VV = self.inner_UVV[both_U].sum(axis=0)
        return float(inner_VV[one, one]), float(inner_VV[other, other]), float(inner_VV[one, other])


def inner_products(blueprint: Blueprint, adapters: Sequence[OfferedPieces]) -> InnerProducts:
    """The inner products over all units of the network; the LoRA scale is part of an adapter's product."""
    count, units = len(adapters), len(blueprint.anatomy.cuts)
    inner_UVV = np.zeros((units, count, count))
    held_UV = np.zeros((units, count), np.bool_)
    scales_V = np.array([blueprint.scale_at(each.rank) for each in adapters])
    factors_V = [factors_of(blueprint, each.pieces, each.units, each.rank) for each in adapters]
    for each, adapter in enumerate(adapters):
        held_UV[list(adapter.units), each] = True
    for unit in np.flatnonzero(held_UV.any(axis=1)):
        (holders,) = np.nonzero(held_UV[unit])
        for cut in blueprint.anatomy.cuts[unit]:
            if cut.piece in factors_V[holders[0]]:
                inner_HH = _inner([factors_V[each][cut.piece] for each in holders])
                inner_UVV[unit][np.ix_(holders, holders)] += inner_HH
    return InnerProducts(inner_UVV * np.outer(scales_V, scales_V), held_UV)


def of_moves(inner_UVV: F64, each: int) -> F64:
    """Inner products of the adapters, or, of two for each peer, of their differences."""
    if each == 1:
        return inner_UVV
    after, before = slice(0, None, 2), slice(1, None, 2)
    # Sums of slices, not a product with a matrix of signs: that would spread what is not finite to all peers.
    return (
        inner_UVV[:, after, after]
        - inner_UVV[:, after, before]
        - inner_UVV[:, before, after]
        + inner_UVV[:, before, before]
    )


def _inner(factors_V: Sequence[Factors]) -> F64:
    a_SI = np.concatenate([each.a_RI for each in factors_V]).astype(np.float64)
    b_OS = np.concatenate([each.b_OR for each in factors_V], axis=1).astype(np.float64)
    ends_V = np.cumsum([0, *(len(each.a_RI) for each in factors_V[:-1])])
    blocks_SS = (a_SI @ a_SI.T) * (b_OS.T @ b_OS)
    return np.add.reduceat(np.add.reduceat(blocks_SS, ends_V, axis=0), ends_V, axis=1)
