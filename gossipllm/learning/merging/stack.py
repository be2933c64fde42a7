"""Merges adapters by a row of weights, unit by unit.

A unit is merged over its holders: the neighbours that offer it, and this peer where it trained it. What the row gives
to peers that do not hold the unit goes by the `missing` rule: "renorm" distributes it among the holders in proportion,
as LEFF does for layers (Shen et al., NeurIPS 2025); "kept" does so too, but with this peer among them, whether it
trained the unit or not; and "self" gives it to this peer's own unit. A unit without holders stays as it is, bit for
bit. A unit that is not offered never counts as zeros.

Mixing parameters, a row w gives `sum_j w_j x_j`. Mixing updates, it gives `s_0 + sum_j w_j (x_j - s_j)`, where
s are the adapters from which the last local steps began (Wagner et al. 2024, algorithm 1, with the sign of a
step forward); that is again a sum of adapters, here called voices, whose weights sum to 1, some of them negative.

How a unit's voices are merged depends on what is trained of it. Where both factors are: see `products.py`. Where one
factor stands beside a frozen one that all peers share, and for differences from the base: their weighted mean, which is
exact. Where the ranks of frozen factors differ, the smaller factor is the beginning of the larger one, so the mean is
taken over the largest rank; ranks beyond this peer's are projected on the span of its own frozen factor (rule "svd"),
or cut off.

Robust rules first turn the row into other coefficients, by the inner products of whole adapters over the units that
the same peers hold (`reweighting.py`), or take each number by itself (`coordinates.py`).

Axes: K peers, entry 0 the own one; V voices; N units of a group, or 1 where all have the same weights; X of a factor,
what is not its rank.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from gossipllm.config.choices import MERGE_RULES, MIXINGS, TRAINS, MergeRule, Missing, Mixing
from gossipllm.learning.merging.clipping import Clip, has_both
from gossipllm.learning.merging.products.inner_products import OfferedPieces, inner_products, of_moves
from gossipllm.learning.merging.products.products import F64, MergeError, Products, narrow, resized
from gossipllm.learning.merging.rules.rules import (
    RULE_FUNCTIONS,
    CoordinateFunction,
    Reweighting,
    RuleFunctions,
)
from gossipllm.learning.merging.updates import Update
from gossipllm.model.adapter.anatomy import Cut
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B, State
from wire.floats import F32

_ROUNDING: Final = 1e-12
"""Difference from 1 at which a weight is all of the weight."""


@dataclass(frozen=True, slots=True, eq=False)
class MergedState:
    """The result of a merge. `discarded` is the norm of what it lacks of the exact mixture over the mixture's norm,
    whatever the rule. Differences, and factors beside an equal frozen one, lack nothing and do not count."""

    state: dict[str, F32]
    discarded: float


@dataclass(frozen=True, slots=True, eq=False)
class OwnAdapter:
    """This peer's adapter, the adapter before its last local steps, and the units that these steps trained. `beside` is
    an adapter that stays as it is beside this one; the clip takes the larger of both for this peer's size."""

    state: State
    start: State
    units: Collection[int]
    beside: State | None = None


@dataclass(frozen=True, eq=False)
class _Group:
    """Units of equal shapes with the same holders, merged together. `peers` are 0 (this peer) and the neighbours that
    hold them."""

    peers: tuple[int, ...]
    own_holds: bool
    voices: tuple[OfferedPieces, ...]
    units: tuple[int, ...]
    cuts: tuple[tuple[Cut, ...], ...]
    scales: tuple[float, ...]

    @cached_property
    def products(self) -> Products:
        """Of units that have both factors."""
        return Products(
            [[(voice.pieces[a.piece], voice.pieces[b.piece]) for voice in self.voices] for a, b in self.cuts],
            self.scales,
        )


class Stack:
    """Adapters prepared for merges by any number of rows: what does not depend on the row is computed once."""

    def __init__(
        self,
        blueprint: Blueprint,
        own: OwnAdapter,
        updates: Sequence[Update],
        *,
        mixing: Mixing = "parameters",
        clip: float = 0.0,
    ) -> None:
        """`clip` is `LearnerConfig.clip`."""
        self._blueprint = blueprint
        self._own = own
        self._peers = 1 + len(updates)
        self._ranks = [blueprint.rank, *(update.offer.rank for update in updates)]
        self._gains = MIXINGS[mixing].sends_start
        mine = _voices(
            blueprint.rank,
            blueprint.own,
            *(blueprint.pieces(one, blueprint.own) for one in (own.state, own.start)[: 1 + self._gains]),
        )
        others = [self._voices_of(update) for update in updates]
        self._offered = [mine, *others]
        stays = [] if own.beside is None else _voices(blueprint.rank, blueprint.own, own.beside)
        self._clip = Clip(blueprint, mine, others, clip, beside=stays) if clip else None
        self._groups = self._grouped(
            [mine, *(others if self._clip is None else self._clip.others)],
            [frozenset(own.units), *(frozenset(one.units) for one in updates)],
        )

    def merge(self, row: Sequence[float], rule: MergeRule, missing: Missing = "renorm") -> MergedState:
        """The merge by `row`: K weights that sum to 1.

        A unit for which all weight falls on one adapter of the own rank is that adapter's bit for bit. Raises
        `ValueError` where the row is none, and where ranks differ and the rule needs equal ones.
        """
        row_K = _checked(row, self._peers)
        if len(set(self._ranks)) > 1 and not MERGE_RULES[rule].unequal_ranks:
            raise ValueError(f'merge rule "{rule}" needs equal ranks, got {self._ranks}')
        train = self._blueprint.config.train
        if len(set(self._ranks)) > 1 and not TRAINS[train].sends_products:
            raise ValueError(f'adapters with train = "{train}" need equal ranks, got {self._ranks}')
        pieces: dict[str, F32] = {}
        missed = MergeError()
        alone: list[tuple[_Group, F64]] = []
        for group in self._groups:
            weights_NV = self._weights(row_K, group, missing, RULE_FUNCTIONS[rule])
            only = self._only(group, weights_NV)
            if only is None:
                merged, lacking = self._merged(group, weights_NV, rule)
                missed += lacking
            else:
                merged = {cut.piece: only.pieces[cut.piece] for cuts in group.cuts for cut in cuts}
                alone.append((group, weights_NV))
            pieces |= merged
        if missed.lacking:
            # Units taken as they are lack nothing, but their norm belongs to the mixture's.
            exact = (group.products.exactly(weights) for group, weights in alone if has_both(group.cuts[0]))
            missed = sum(exact, missed)
        state = self._blueprint.placed(pieces, self._blueprint.own, self._own.state)
        return MergedState(state, missed.share)

    def _voices_of(self, update: Update) -> list[OfferedPieces]:
        if not self._gains:
            return _voices(update.offer.rank, update.units, update.state)
        assert update.start is not None, "the format carries the start"
        return _voices(update.offer.rank, update.units, update.state, update.start)

    def _only(self, group: _Group, weights_NV: F64) -> OfferedPieces | None:
        """The voice that is the whole result in all units: of weight 1, and of this peer's rank."""
        heard = [int(each) for each in np.flatnonzero(weights_NV.any(axis=0))]
        voice = group.voices[heard[0]]
        whole = len(heard) == 1 and bool(np.allclose(weights_NV[:, heard], 1, rtol=0, atol=_ROUNDING))
        return voice if whole and voice.rank == self._blueprint.rank else None

    def _merged(self, group: _Group, weights_NV: F64, rule: MergeRule) -> tuple[dict[str, F32], MergeError]:
        functions = RULE_FUNCTIONS[rule]
        each_NV = np.broadcast_to(weights_NV, (len(group.cuts), weights_NV.shape[1]))
        merged: dict[str, F32] = {}
        missed = MergeError()
        if isinstance(functions, CoordinateFunction):
            for weights_V, cuts in zip(each_NV, group.cuts, strict=True):
                merged |= {cut.piece: self._combined(cut, group, weights_V, functions) for cut in cuts}
            # No mixture is aimed at, so none is missed.
            return merged, missed
        if has_both(group.cuts[0]):
            pairs, missed = functions.pairs(group.products, weights_NV)
            for (a, b), (a_RI, b_OR) in zip(group.cuts, pairs, strict=True):
                merged |= {a.piece: a_RI, b.piece: b_OR}
            return merged, missed
        for weights_V, cuts in zip(each_NV, group.cuts, strict=True):
            for cut in cuts:
                merged[cut.piece], lacking = self._average(cut, group, weights_V, functions)
                missed += lacking
        return merged, missed

    def _combined(self, cut: Cut, group: _Group, weights_V: F64, functions: CoordinateFunction) -> F32:
        values_VX = np.stack([voice.pieces[cut.piece].ravel() for voice in group.voices]).astype(np.float64)
        shape = group.voices[0].pieces[cut.piece].shape
        if not self._gains:
            return narrow(functions.combined(values_VX, weights_V).reshape(shape))
        # Voices are pairs: an adapter, and with the opposite weight what it began from.
        gains_KX = values_VX[::2] - values_VX[1::2]
        return narrow((values_VX[1] + functions.combined(gains_KX, weights_V[::2])).reshape(shape))

    # -- weights ------------------------------------------------------------------------------------

    def _weights(
        self, row_K: F64, group: _Group, missing: Missing, functions: RuleFunctions | CoordinateFunction
    ) -> F64:
        """The row, or what a rule makes of it, as weights of a group's voices: a row for each unit, or one for all."""
        taken = row_K[list(group.peers)]
        if len(group.peers) < self._peers or not group.own_holds:
            if missing == "self":
                taken[0] += row_K.sum() - taken.sum()
            else:
                taken[0] *= group.own_holds or missing == "kept"
                total = taken.sum()
                taken = taken / total if total > 0 else np.eye(len(taken))[0]
        if isinstance(functions, RuleFunctions) and functions.reweighted is not None:
            taken = self._reweighted(taken, group, functions.reweighted)
        taken_NK = self._clipped(taken, group, by_factors=functions.by_factors)
        if not self._gains:
            return taken_NK
        signed_NKV = np.stack([taken_NK, -taken_NK], axis=2)
        signed_NKV[:, 0, 1] += 1
        return signed_NKV.reshape(len(taken_NK), -1)

    def _reweighted(self, taken_K: F64, group: _Group, reweighted: Reweighting) -> F64:
        """The coefficients that a rule makes of weights, by all units that the same peers hold."""
        held = [
            unit
            for each in self._groups
            if (each.peers, each.own_holds) == (group.peers, group.own_holds)
            for unit in each.units
        ]
        inner_KK = self._inner_UKK[held].sum(axis=0)
        return reweighted(inner_KK[np.ix_(group.peers, group.peers)], taken_K)

    @cached_property
    def _inner_UKK(self) -> F64:
        """Inner products of what the peers' adapters add to the base, or of their changes where these are mixed."""
        offered = [voice for voices in self._offered for voice in voices]
        return of_moves(inner_products(self._blueprint, offered).inner_UVV, len(self._offered[0]))

    def _clipped(self, taken_K: F64, group: _Group, *, by_factors: bool) -> F64:
        """The weights after clipping; what a neighbour loses goes to this peer."""
        if self._clip is None:
            return taken_K[None]
        kept_NK = np.stack(
            [self._clip.kept(unit, by_factors=by_factors)[list(group.peers)] for unit in group.units]
        )
        if (kept_NK == 1).all():
            return taken_K[None]
        clipped_NK = taken_K * kept_NK
        clipped_NK[:, 0] += taken_K.sum() - clipped_NK.sum(axis=1)
        return clipped_NK

    def _grouped(
        self, voices: Sequence[Sequence[OfferedPieces]], holders: Sequence[frozenset[int]]
    ) -> list[_Group]:
        schema = self._blueprint.schema
        alike: dict[tuple[tuple[tuple[int, ...], ...], tuple[int, ...], bool], list[int]] = {}
        for unit in self._blueprint.own:
            shapes = tuple(shape for _, shape in schema.units[unit].tensors)
            peers = (0, *(peer for peer in range(1, self._peers) if unit in holders[peer]))
            alike.setdefault((shapes, peers, unit in holders[0]), []).append(unit)
        groups: list[_Group] = []
        for (_, peers, own_holds), units in alike.items():
            present = tuple(voice for peer in peers for voice in voices[peer])
            cuts = tuple(self._blueprint.cuts([unit]) for unit in units)
            scales = tuple(self._blueprint.scale_at(voice.rank) for voice in present)
            groups.append(_Group(peers, own_holds, present, tuple(units), cuts, scales))
        return groups

    # -- one factor, or none ------------------------------------------------------------------------

    def _average(
        self, cut: Cut, group: _Group, weights_V: F64, functions: RuleFunctions
    ) -> tuple[F32, MergeError]:
        terms = [term for term in zip(weights_V, group.scales, group.voices, strict=True) if term[0]]
        rank, axis = self._blueprint.rank, _rank_axis(cut)
        if axis is None or all(voice.rank == rank for _, _, voice in terms):
            mean = sum(weight * voice.pieces[cut.piece].astype(np.float64) for weight, _, voice in terms)
            return narrow(mean), MergeError()
        most = max(rank, *(voice.rank for _, _, voice in terms))
        wide_XS = np.zeros(())
        for weight, scale, voice in terms:
            factor = voice.pieces[cut.piece].astype(np.float64)
            held_XS = resized(factor.T if axis == 0 else factor, 1, most)
            wide_XS = wide_XS + weight * (scale / group.scales[0]) * held_XS
        gram_SS = self._gram(cut, most)
        kept_XR = functions.surplus(wide_XS, gram_SS, rank)
        lacking_XS = wide_XS - resized(kept_XR, 1, most)
        missed = MergeError(*(max(float(((x @ gram_SS) * x).sum()), 0.0) for x in (lacking_XS, wide_XS)))
        return narrow(kept_XR.T if axis == 0 else kept_XR), missed

    def _gram(self, cut: Cut, rank: int) -> F64:
        """Inner products of the rows of the frozen A beside a trained B, or of the columns of a frozen B."""
        module = self._blueprint.anatomy.by_name[cut.tensor].module
        frozen = self._blueprint.frozen_at(rank)
        factor_SI = (frozen[module + A] if cut.tensor.endswith(B) else frozen[module + B].T).astype(
            np.float64
        )
        return factor_SI @ factor_SI.T


def completed(update: Update, own: State, blueprint: Blueprint) -> State:
    """A whole adapter of this peer's rank and units: the update's units where it offers them, `own` elsewhere.

    An adapter of another rank becomes the best approximation that the own rank allows, in coordinates near `own`'s.
    """
    row = (0.0, 1.0)
    # With no own unit held, offered units come from the update alone and all others stay.
    return Stack(blueprint, OwnAdapter(own, own, ()), [update]).merge(row, "svd").state


def started(update: Update, own: State, blueprint: Blueprint) -> State:
    """`completed` for the adapter before the author's last local steps. For mixing that sends it only."""
    assert update.start is not None, "the format carries the start"
    return completed(Update(update.offer, update.units, update.start, None), own, blueprint)


def _voices(rank: int, units: Sequence[int], *adapters: Mapping[str, F32]) -> list[OfferedPieces]:
    return [OfferedPieces(rank, tuple(units), pieces) for pieces in adapters]


def _rank_axis(cut: Cut) -> int | None:
    """The axis of a piece along which its ranks lie; None for a difference from the base."""
    if cut.tensor.endswith(A):
        return 0
    return 1 if cut.tensor.endswith(B) else None


def _checked(row: Sequence[float], count: int) -> F64:
    row_K = np.asarray(row, np.float64)
    if row_K.shape != (count,):
        raise ValueError(f"row must have {count} weights, got {row_K.shape}")
    if not np.all(np.isfinite(row_K)) or abs(row_K.sum() - 1) > 1e-6:
        raise ValueError(f"row must be finite and sum to 1, got {row_K.tolist()}")
    return row_K / row_K.sum()
