"""A row of weights over adapters to one adapter.

What a row w over adapters j aims at is the exact mixture of their updates,

    M = sum_j w_j s_j B_j A_j,    s_j = alpha / rank_j,

which has up to sum_j rank_j dimensions and has to come back as one B A of the peer's own rank.

`svd` takes the best approximation of M of that rank (FlexLoRA, arXiv 2402.11505) without forming M: with
the adapters' A stacked as rows and their B as columns, QR gives orthonormal bases of both, in which M is a
small core. Only the core knows the row, so that a peer that tries ten rows pays for one QR. `mean` averages
A and B apart, as Wagner et al. (2024) do; it misses M by the weighted covariance of the factors, which is
nothing where A is frozen and everybody's.

M leaves open which of its infinitely many factorisations to take. The usual one splits the singular values
evenly, which is wrong twice here: directions in which M is small would come back with both factors near
zero, where neither has a gradient, and AdamW's moments would belong to coordinates that are gone. We keep A
where it was: the new A is the previous one projected on the rows that M needs, its singular values held
above a floor, and B follows from B A = M. So adapters with one A in common merge to that A and the mean of
the B; equal adapters merge to themselves; and where the previous A is of no use, the floor turns the
projection into the nearest rotation of it (Procrustes).

Axes: K adapters, entry 0 the peer's own; R_j ranks, S their sum; I inputs, O outputs; P, Q dimensions of
the bases of inputs and outputs, at most S; N modules of equal shape, computed together in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from gossipllm.model.names import A, B, State
from wire.floats import F32

F64 = NDArray[np.float64]
Rule = Literal["svd", "mean"]

_FLOOR: Final = 0.1
"""Least singular value of the new A, of the previous A's root mean square: B's condition stays below 10
times that of the previous A. Guess."""
_FRESH_RMS: Final = 3**-0.5
"""Root mean square singular value of a fresh A, whose entries are uniform within 1/sqrt(I)."""
_NEGLIGIBLE: Final = 1e-7
"""Singular values below this share of the largest are rounding of the float32 factors."""


@dataclass(frozen=True, slots=True, eq=False)
class MergedState:
    """`discarded` is the norm of what the result lacks of the exact mixture, over the mixture's norm."""

    state: dict[str, F32]
    discarded: float


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Modules of equal shape: bases, and each adapter's factors in them."""

    modules: tuple[str, ...]
    inputs_NIP: F64
    outputs_NOQ: F64
    a_NSP: F64
    """All adapters' A below each other: A_j^T = inputs a_j^T."""
    b_NQS: F64
    """All adapters' B side by side: B_j = outputs b_j."""


class Stack:
    """Adapters made ready to be merged by any number of rows. States must hold the same modules."""

    def __init__(self, states: Sequence[State], *, alpha: float) -> None:
        modules = tuple(name.removesuffix(A) for name in states[0] if name.endswith(A))
        self._states = tuple(states)
        self._ranks = [int(state[modules[0] + A].shape[0]) for state in states]
        self._alpha = alpha
        shapes: dict[tuple[int, int], list[str]] = {}
        for module in modules:
            a, b = states[0][module + A], states[0][module + B]
            shapes.setdefault((a.shape[1], b.shape[0]), []).append(module)
        self._groups = [_grouped(tuple(names), states) for names in shapes.values()]

    def merge(self, row: Sequence[float], rule: Rule) -> MergedState:
        """The merge by `row`: K weights that sum to 1, some of them below 0 where differences are mixed.

        A row that gives everything to one adapter of the own rank returns its tensors bit for bit.
        """
        row_K = _checked(row, len(self._states))
        alone = int(np.argmax(row_K))
        if np.count_nonzero(row_K) == 1 and self._ranks[alone] == self._ranks[0]:
            return MergedState({name: value.copy() for name, value in self._states[alone].items()}, 0.0)
        return self.svd(row_K) if rule == "svd" else self.mean(row_K)

    def svd(self, row_K: F64) -> MergedState:
        """The best approximation of the mixture that the own rank allows."""
        scales = [self._alpha / rank for rank in self._ranks]
        weights_S = np.repeat(row_K * scales, self._ranks)
        rank, own_scale = self._ranks[0], scales[0]
        state: dict[str, F32] = {}
        dropped = whole = 0.0
        for group in self._groups:
            core_NQP = (group.b_NQS * weights_S) @ group.a_NSP / own_scale
            u_NQM, sigma_NM, vt_NMP = np.linalg.svd(core_NQP, full_matrices=False)
            whole += float((sigma_NM**2).sum())
            dropped += float((sigma_NM[:, rank:] ** 2).sum())
            a_NRP, b_NQR = _near(group.a_NSP[:, :rank], u_NQM, sigma_NM, vt_NMP)
            _put(state, group, a_NRP, b_NQR)
        ordered = {name: state[name] for name in self._states[0]}
        return MergedState(ordered, (dropped / whole) ** 0.5 if whole else 0.0)

    def mean(self, row_K: F64) -> MergedState:
        """Factors averaged apart. Raises `ValueError` where the ranks differ."""
        if len(set(self._ranks)) > 1:
            raise ValueError(f"the factor mean needs equal ranks, got {self._ranks}")
        state: dict[str, F32] = {}
        for name in self._states[0]:
            wide = sum(
                weight * held[name].astype(np.float64)
                for weight, held in zip(row_K, self._states, strict=True)
                if weight
            )
            state[name] = np.asarray(wide, np.float32)
        return MergedState(state, self._mean_error(row_K))

    def _mean_error(self, row_K: F64) -> float:
        rank = self._ranks[0]
        weights_S = np.repeat(row_K, rank)
        average_SR = np.kron(row_K[:, None], np.eye(rank))
        missed = whole = 0.0
        for group in self._groups:
            exact = (group.b_NQS * weights_S) @ group.a_NSP
            mean = (group.b_NQS @ average_SR) @ (average_SR.T @ group.a_NSP)
            missed += float(((exact - mean) ** 2).sum())
            whole += float((exact**2).sum())
        return (missed / whole) ** 0.5 if whole else 0.0


def _near(previous_NRP: F64, u_NQM: F64, sigma_NM: F64, vt_NMP: F64) -> tuple[F64, F64]:
    """Factors of the best approximation, A as near to the previous as its row space allows.

    Rows that the mixture needs are spanned by its leading right singular vectors; what the rank leaves
    over is filled with the directions in which the previous A is strongest besides.
    """
    rank = min(previous_NRP.shape[1], vt_NMP.shape[1])
    largest_N1 = sigma_NM[:, :1]
    kept_NR: NDArray[np.bool_] = (sigma_NM[:, :rank] > _NEGLIGIBLE * largest_N1) & (largest_N1 > 0)
    v_NRP = vt_NMP[:, :rank] * kept_NR[..., None]
    rest_NRP = previous_NRP - (previous_NRP @ v_NRP.swapaxes(1, 2)) @ v_NRP
    _, _, spare_NMP = np.linalg.svd(rest_NRP, full_matrices=False)
    # Kept directions stand first, so position i >= kept takes spare direction i - kept.
    kept_N1 = np.count_nonzero(kept_NR, axis=1).reshape(-1, 1)
    position = np.arange(rank, dtype=np.int64).reshape(1, rank) - kept_N1
    spare_NRP = np.take_along_axis(spare_NMP, np.maximum(position, 0)[..., None], axis=1)
    rows_NRP = np.where(kept_NR[..., None], v_NRP, spare_NRP)
    p_NRT, s_NT, q_NTR = np.linalg.svd(previous_NRP @ rows_NRP.swapaxes(1, 2), full_matrices=False)
    rms_N1 = np.sqrt((previous_NRP**2).sum(axis=(1, 2)) / previous_NRP.shape[1])[:, None]
    s_NT = np.maximum(s_NT, _FLOOR * np.where(rms_N1 > 0, rms_N1, _FRESH_RMS))
    a_NRP = (p_NRT * s_NT[:, None]) @ q_NTR @ rows_NRP
    mixture_NQR = u_NQM[..., :rank] * (sigma_NM[:, :rank] * kept_NR)[:, None]
    b_NQR = (mixture_NQR @ q_NTR.swapaxes(1, 2) / s_NT[:, None]) @ p_NRT.swapaxes(1, 2)
    return a_NRP, b_NQR


def _grouped(modules: tuple[str, ...], states: Sequence[State]) -> _Group:
    a_NSI = np.stack([np.concatenate([state[m + A] for state in states]) for m in modules]).astype(np.float64)
    b_NOS = np.stack([np.concatenate([state[m + B] for state in states], axis=1) for m in modules])
    inputs_NIP, a_NPS = np.linalg.qr(a_NSI.swapaxes(1, 2))
    outputs_NOQ, b_NQS = np.linalg.qr(b_NOS.astype(np.float64))
    return _Group(modules, inputs_NIP, outputs_NOQ, a_NPS.swapaxes(1, 2), b_NQS)


def _put(state: dict[str, F32], group: _Group, a_NRP: F64, b_NQR: F64) -> None:
    # Factors near float32's limit may pass it: infinite, so that whoever evaluates them will see.
    with np.errstate(over="ignore"):
        a_NRI = (a_NRP @ group.inputs_NIP.swapaxes(1, 2)).astype(np.float32)
        b_NOR = (group.outputs_NOQ @ b_NQR).astype(np.float32)
    for module, a_RI, b_OR in zip(group.modules, a_NRI, b_NOR, strict=True):
        state[module + A] = a_RI
        state[module + B] = b_OR


def _checked(row: Sequence[float], count: int) -> F64:
    row_K = np.asarray(row, np.float64)
    if row_K.shape != (count,):
        raise ValueError(f"row must have {count} weights, got {row_K.shape}")
    if not np.all(np.isfinite(row_K)) or abs(row_K.sum() - 1) > 1e-6:
        raise ValueError(f"row must be finite and sum to 1, got {row_K.tolist()}")
    return row_K / row_K.sum()
