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

Axes: K peers, entry 0 the own one; V voices; N units of a group, or 1 where all have the same weights; X of a factor,
what is not its rank.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np

from gossipllm.config.choices import MERGE_RULES, MIXINGS, MergeRule, Missing, Mixing
from gossipllm.learning.merging.clipping import Clip, has_both
from gossipllm.learning.merging.inner_products import OfferedPieces
from gossipllm.learning.merging.products import F64, MergeError, Pair, Products, narrow, resized
from gossipllm.learning.merging.updates import Update
from gossipllm.model.adapter.blueprint import Blueprint, Cut
from gossipllm.model.adapter.names import A, B, State
from wire.floats import F32

PairsRule: TypeAlias = Callable[[Products, F64], tuple[list[Pair], MergeError]]
"""`(products, weights_NV)` to the factors of the result, and what these lack of the exact mixture."""

SurplusRule: TypeAlias = Callable[[F64, F64, int], F64]
"""`(wide_XS, gram_SS, rank)` to `kept_XR`, for a factor beside a frozen one: the mean over the largest rank S, the
inner products of the frozen factor's ranks, and the rank R of the result."""


@dataclass(frozen=True, slots=True, eq=False)
class MergedState:
    """The result of a merge. `discarded` is the norm of what it lacks of the exact mixture over the mixture's norm,
    whatever the rule. Differences, and factors beside an equal frozen one, lack nothing and do not count."""

    state: dict[str, F32]
    discarded: float


@dataclass(frozen=True, slots=True, eq=False)
class OwnAdapter:
    """This peer's adapter, the adapter before its last local steps, and the units that these steps trained."""

    state: State
    start: State
    units: Collection[int]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFunctions:
    """What a merge rule computes. What it can do stands in `gossipllm.config.choices.MERGE_RULES`."""

    pairs: PairsRule
    """For units of which both factors are trained."""

    surplus: SurplusRule
    """For units with one frozen factor, where others have more ranks than this peer."""

    by_factors: bool
    """Whether `pairs` averages the factors, so that the clip bounds their distances too."""


def cut_off(wide_XS: F64, gram_SS: F64, rank: int) -> F64:  # noqa: ARG001 - the form of a `SurplusRule`
    """The first ranks as they are."""
    return wide_XS[:, :rank]


def projected(wide_XS: F64, gram_SS: F64, rank: int) -> F64:
    """The nearest factor of the smaller rank: what lies beyond is projected on the span of the own frozen factor."""
    onto_SR = gram_SS[:, :rank] @ np.linalg.pinv(gram_SS[:rank, :rank], hermitian=True)
    return wide_XS[:, :rank] + wide_XS[:, rank:] @ onto_SR[rank:]


RULE_FUNCTIONS: Final[dict[MergeRule, RuleFunctions]] = {
    "svd": RuleFunctions(pairs=Products.svd, surplus=projected, by_factors=False),
    "mean": RuleFunctions(pairs=Products.averaged, surplus=cut_off, by_factors=True),
    "pad": RuleFunctions(pairs=Products.averaged, surplus=cut_off, by_factors=True),
}


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
        self._clip = Clip(blueprint, mine, others, clip) if clip else None
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
        pieces: dict[str, F32] = {}
        missed = MergeError()
        alone: list[tuple[_Group, F64]] = []
        for group in self._groups:
            weights_NV = self._weights(row_K, group, missing, by_factors=RULE_FUNCTIONS[rule].by_factors)
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
        """The voice that has all weight in all units, if it has this peer's rank."""
        heard = [int(each) for each in np.flatnonzero(weights_NV.any(axis=0))]
        voice = group.voices[heard[0]]
        return voice if len(heard) == 1 and voice.rank == self._blueprint.rank else None

    def _merged(self, group: _Group, weights_NV: F64, rule: MergeRule) -> tuple[dict[str, F32], MergeError]:
        merged: dict[str, F32] = {}
        if has_both(group.cuts[0]):
            pairs, missed = RULE_FUNCTIONS[rule].pairs(group.products, weights_NV)
            for (a, b), (a_RI, b_OR) in zip(group.cuts, pairs, strict=True):
                merged |= {a.piece: a_RI, b.piece: b_OR}
            return merged, missed
        missed = MergeError()
        for weights_V, cuts in zip(
            np.broadcast_to(weights_NV, (len(group.cuts), weights_NV.shape[1])), group.cuts, strict=True
        ):
            for cut in cuts:
                merged[cut.piece], lacking = self._average(cut, group, weights_V, rule)
                missed += lacking
        return merged, missed

    # -- weights ------------------------------------------------------------------------------------

    def _weights(self, row_K: F64, group: _Group, missing: Missing, *, by_factors: bool) -> F64:
        """The row as weights of a group's voices, which sum to 1: a row for each unit, or one for all of them."""
        taken = row_K[list(group.peers)]
        if len(group.peers) < self._peers or not group.own_holds:
            if missing == "self":
                taken[0] += row_K.sum() - taken.sum()
            else:
                taken[0] *= group.own_holds or missing == "kept"
                total = taken.sum()
                taken = taken / total if total > 0 else np.eye(len(taken))[0]
        taken_NK = self._clipped(taken, group, by_factors=by_factors)
        if not self._gains:
            return taken_NK
        signed_NKV = np.stack([taken_NK, -taken_NK], axis=2)
        signed_NKV[:, 0, 1] += 1
        return signed_NKV.reshape(len(taken_NK), -1)

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

    def _average(self, cut: Cut, group: _Group, weights_V: F64, rule: MergeRule) -> tuple[F32, MergeError]:
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
        kept_XR = RULE_FUNCTIONS[rule].surplus(wide_XS, gram_SS, rank)
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
