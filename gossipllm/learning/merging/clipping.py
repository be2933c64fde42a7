"""Bounds how far a neighbour can move this peer in a merge, unit by unit.

With D for what a unit adds to the base (s B A, or a difference), neighbour j counts in this peer i's merge as

    D_j' = D_i + min(1, tau / |D_j - D_i|) (D_j - D_i),    tau = clip * max(|D_i|, rms of |D_i| over i's units),

clipped towards oneself as in ClippedGossip (He, Karimireddy and Jaggi 2022, arXiv 2202.01545). There tau is a distance
to other neighbours, some of which may be attackers; here it is this peer's own size, which no neighbour can move. D_j'
is a mixture of D_j and D_i, so that clipping only moves weight to oneself: exactly, and without forming a product.
Where changes are mixed instead of adapters, D is the change.

Products leave their factors open: (c B, A / c) is the same update. A rule that averages factors would be spoilt by a
huge A beside a tiny B. So factors are first balanced to this peer's A, by a power of two, which loses no bit. And for
such a rule the distances of both factors are bounded like that of the product: two large columns of B that cancel in
the product do not cancel in a mean.

What is out of all proportion, a million times tau, is left out, because rounding would decide its direction.

Axes: U units of the network, K peers, entry 0 this one; V adapters, one for each peer, or two where changes are mixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from gossipllm.learning.merging.averages import F64
from gossipllm.learning.merging.products.inner_products import OfferedPieces, inner_products, of_moves
from gossipllm.learning.merging.products.products import resized
from gossipllm.model.adapter.anatomy import Cut
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B, State
from wire.floats import F32

MOST_RATIO: Final = 1e6
"""Times tau at which a neighbour's unit is left out, also by the product of the norms of its factors. Below, rounding
in float64 of sums that cancel stays under 1e-9 tau."""

UNBALANCED: Final = 2.0
"""Factors are balanced where the root mean square of A differs this many times from this peer's, either way."""


class Clip:
    """Neighbours as a merge takes them: `others` with balanced factors, and how much of each weight stays with them."""

    def __init__(
        self,
        blueprint: Blueprint,
        own: Sequence[OfferedPieces],
        others: Sequence[Sequence[OfferedPieces]],
        clip: float,
        *,
        beside: Sequence[OfferedPieces] = (),
    ) -> None:
        """`beside` are adapters that are this peer's own too and are not mixed into: this peer's size is that of the
        largest."""
        # What overflows here leaves a ratio that is infinite or no number, and so is left out.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            balanced = [_balanced(blueprint, each, own[0]) for each in others]
            ratios_UK = _product_ratios(blueprint, [own, *balanced], clip, beside)
            factor_ratios_UK = _factor_ratios(blueprint, [own, *balanced], clip, beside)
        self._kept_UK = _kept(ratios_UK)
        self._kept_by_factors_UK = _kept(np.maximum(ratios_UK, factor_ratios_UK))
        self.others = [
            [_without(blueprint, one, np.flatnonzero(self._kept_UK[:, peer] == 0)) for one in each]
            for peer, each in enumerate(balanced, start=1)
        ]

    def kept(self, unit: int, *, by_factors: bool) -> F64:
        """The share of its weight that each peer keeps for this unit; the rest goes to this peer. `by_factors` says
        that the merge averages factors."""
        return (self._kept_by_factors_UK if by_factors else self._kept_UK)[unit]


def clipped_moves(moves: Sequence[State], clip: float) -> list[State]:
    """Moves of whole adapters, the first this peer's own, tensor by tensor clipped towards it.

    For sums that take each factor by itself, such as the row that gradient descent learns. Tensors of a kind have one
    yardstick, as units have above. 0 for no bound.
    """
    own, *others = moves
    if not clip:
        return list(moves)
    tau: dict[str, float] = {}
    for kind in {_kind(name) for name in own}:
        names = [name for name in own if _kind(name) == kind]
        sizes = clip * _yardstick(np.array([_norm(own[name]) for name in names]))
        tau.update(zip(names, sizes.tolist(), strict=True))
    return [
        own,
        *({name: _nearer(value, own[name], tau[name]) for name, value in one.items()} for one in others),
    ]


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _nearer(value: F32, own: F32, tau: float) -> F32:
    apart = value.astype(np.float64) - own
    distance = _norm(apart)
    if distance <= tau or not tau:
        return value
    return own if distance > MOST_RATIO * tau else (own + tau / distance * apart).astype(np.float32)


def _kept(ratios_UK: F64) -> F64:
    # A ratio that is no number fails both comparisons.
    clipped_UK = np.where(ratios_UK <= MOST_RATIO, 1 / np.maximum(ratios_UK, 1.0), 0.0)
    return np.where(ratios_UK <= 1, 1.0, clipped_UK)


def _product_ratios(
    blueprint: Blueprint,
    peers: Sequence[Sequence[OfferedPieces]],
    clip: float,
    beside: Sequence[OfferedPieces],
) -> F64:
    """Distances of the products over tau. All 0 where this peer's own are zero, which gives no yardstick."""
    inner_UKK = of_moves(
        inner_products(blueprint, [one for each in peers for one in each]).inner_UVV, len(peers[0])
    )
    squares_UK = np.einsum("ukk->uk", inner_UKK)
    own_U1 = squares_UK[:, :1]
    if beside:
        own_U1 = np.maximum(
            own_U1, np.einsum("ukk->uk", inner_products(blueprint, beside).inner_UVV).max(1)[:, None]
        )
    tau_U1 = clip * _yardstick(np.sqrt(np.maximum(own_U1, 0.0)))
    if not tau_U1.any():
        return np.zeros_like(squares_UK)
    apart_UK = np.sqrt(np.maximum(squares_UK + squares_UK[:, :1] - 2 * inner_UKK[:, 0], 0.0))
    bounds_UK = np.zeros_like(apart_UK)
    for peer, each in enumerate(peers):
        for unit, (a, b) in _pairs(blueprint, each).items():
            bounds_UK[unit, peer] = max(
                blueprint.scale_at(one.rank) * _norm(one.pieces[a.piece]) * _norm(one.pieces[b.piece])
                for one in each
            )
    return np.where(bounds_UK <= MOST_RATIO * tau_U1, apart_UK / tau_U1, math.inf)


def _factor_ratios(
    blueprint: Blueprint,
    peers: Sequence[Sequence[OfferedPieces]],
    clip: float,
    beside: Sequence[OfferedPieces],
) -> F64:
    """The larger distance of the two factors over its tau; 0 for units without both factors."""
    ratios_UK = np.zeros((len(blueprint.anatomy.cuts), len(peers)))
    for axis in (0, 1):
        own, *others = (
            {
                unit: _factor(blueprint, each, cuts[axis], axis)
                for unit, cuts in _pairs(blueprint, each).items()
            }
            for each in peers
        )
        sizes_U = np.zeros(len(ratios_UK))
        sizes_U[list(own)] = [_norm(value) for value in own.values()]
        for one in beside:
            for unit, cuts in _pairs(blueprint, [one]).items():
                sizes_U[unit] = max(sizes_U[unit], _norm(_factor(blueprint, [one], cuts[axis], axis)))
        tau_U = clip * _yardstick(sizes_U)
        for peer, moves in enumerate(others, start=1):
            for unit in moves.keys() & own.keys():
                apart = _norm(moves[unit] - own[unit])
                if tau_U[unit]:
                    ratios_UK[unit, peer] = max(ratios_UK[unit, peer], apart / tau_U[unit])
    return ratios_UK


def _pairs(blueprint: Blueprint, adapters: Sequence[OfferedPieces]) -> dict[int, tuple[Cut, Cut]]:
    """The pieces A and B of those units of an adapter that have both."""
    cuts = {unit: blueprint.anatomy.cuts[unit] for unit in adapters[0].units}
    return {unit: (pair[0], pair[1]) for unit, pair in cuts.items() if has_both(pair)}


def has_both(cuts: Sequence[Cut]) -> bool:
    """Whether these pieces of a unit are its two factors A and B."""
    return len(cuts) == 2 and cuts[0].tensor.endswith(A) and cuts[1].tensor.endswith(B)


def _factor(blueprint: Blueprint, adapters: Sequence[OfferedPieces], cut: Cut, axis: int) -> F64:
    """A factor, or its change, as a rule that averages factors takes it: at this peer's rank, B with the scale."""
    one, *before = (
        resized(each.pieces[cut.piece].astype(np.float64), axis, blueprint.rank) for each in adapters
    )
    move = one - before[0] if before else one
    return move * (blueprint.scale_at(adapters[0].rank) / blueprint.scale) if axis else move


def _yardstick(sizes: F64) -> F64:
    """For each unit its size, or the root mean square over the units that have any where that is larger."""
    some = sizes[sizes > 0]
    return np.maximum(sizes, np.sqrt(np.mean(some**2)) if some.size else 0.0)


def _norm(values: F32 | F64) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


def _balanced(
    blueprint: Blueprint, adapters: Sequence[OfferedPieces], own: OfferedPieces
) -> list[OfferedPieces]:
    """The same products, with factors A of about this peer's size; without any where A is zero."""
    pieces = [dict(one.pieces) for one in adapters]
    for a, b in _pairs(blueprint, adapters).values():
        mine = _rms(own.pieces[a.piece]) if a.piece in own.pieces else 0.0
        theirs = _rms(adapters[0].pieces[a.piece])
        if not mine:
            continue
        if not theirs:
            for each in pieces:
                each[b.piece] = np.zeros_like(each[b.piece])
        elif not 1 / UNBALANCED <= theirs / mine <= UNBALANCED:
            power = round(math.log2(mine / theirs))
            for each in pieces:
                each[a.piece] = np.ldexp(each[a.piece], power)
                each[b.piece] = np.ldexp(each[b.piece], -power)
    return [OfferedPieces(one.rank, one.units, held) for one, held in zip(adapters, pieces, strict=True)]


def _rms(values: F32) -> float:
    return _norm(values) / math.sqrt(values.size)


def _without(blueprint: Blueprint, adapter: OfferedPieces, units: Iterable[int]) -> OfferedPieces:
    """The adapter with zeros in these units, which have no weight."""
    lost = {cut.piece for cut in blueprint.cuts(units)} & adapter.pieces.keys()
    zeros = {name: np.zeros_like(adapter.pieces[name]) for name in lost}
    return OfferedPieces(adapter.rank, adapter.units, {**adapter.pieces, **zeros}) if zeros else adapter
