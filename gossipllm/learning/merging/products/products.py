"""Weighted sums of low-rank products, brought to one rank.

What weights w over adapters v aim at is the exact mixture of their updates,

    M = sum_v w_v s_v B_v A_v,    s_v = alpha / rank_v,

which has up to sum_v rank_v dimensions and has to come back as one B A of one rank.

`svd` takes the best approximation of M of that rank (FlexLoRA, arXiv 2402.11505) without forming M: with
the adapters' A stacked as rows and their B as columns, QR gives orthonormal bases of both, in which M is a
small core. Only the core knows the weights, so that a peer that tries ten rows pays for one QR. `averaged` averages
A and B apart, as Wagner et al. (2024) do; it misses M by the weighted covariance of the factors. Where ranks differ,
it first brings them together with zeros and the scales into B, as HetLoRA does (arXiv 2401.06432).

M leaves open which of its infinitely many factorisations to take. The usual one splits the singular values
evenly, which is wrong twice here: directions in which M is small would come back with both factors near
zero, where neither has a gradient, and AdamW's moments would belong to coordinates that are gone. We keep A
where it was: the new A is the previous one projected on the rows that M needs, its singular values held
above a floor, and B follows from B A = M. So adapters with one A in common merge to that A and the mean of
the B; equal adapters merge to themselves; and where the previous A is of no use, the floor turns the
projection into the nearest rotation of it (Procrustes).

Axes: V adapters, the first the one whose rank and coordinates the result has; R its rank, S the sum of all; I
inputs, O outputs; P, Q dimensions of the bases of inputs and outputs, at most S; N modules of equal shape, computed
together in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire.floats import F32

F64 = NDArray[np.float64]
Pair: TypeAlias = tuple[F32, F32]
"""`(a_RI, b_OR)`."""

_FLOOR: Final = 0.1
"""Least singular value of the new A, of the previous A's root mean square: B's condition stays below 10
times that of the previous A. Guess."""
_FRESH_RMS: Final = 3**-0.5
"""Root mean square singular value of a fresh A, whose entries are uniform within 1/sqrt(I)."""
_NEGLIGIBLE: Final = 1e-7
"""Singular values below this share of the largest are rounding of the float32 factors."""


@dataclass(frozen=True, slots=True, eq=False)
class MergeError:
    """Squared Frobenius norms: of what a result lacks of the exact mixture, and of the mixture."""

    lacking: float = 0.0
    whole: float = 0.0

    def __add__(self, other: MergeError) -> MergeError:
        return MergeError(self.lacking + other.lacking, self.whole + other.whole)

    @property
    def share(self) -> float:
        """The norm of what is lacking over the norm of the mixture."""
        return (self.lacking / self.whole) ** 0.5 if self.whole else 0.0


class Products:
    """`factors_NV` are each module's factors under each adapter, `scales_V` the adapters' scales. Weights are a row for
    each module, or one row for all."""

    def __init__(self, factors_NV: Sequence[Sequence[Pair]], scales_V: Sequence[float]) -> None:
        self._factors_NV = factors_NV
        self._ranks = [a_RI.shape[0] for a_RI, _ in factors_NV[0]]
        self._scales = list(scales_V)
        self._ratios = [scale / scales_V[0] for scale in scales_V]
        a_NSI = np.stack([np.concatenate([a for a, _ in pairs]) for pairs in factors_NV]).astype(np.float64)
        b_NOS = np.stack([np.concatenate([b for _, b in pairs], axis=1) for pairs in factors_NV])
        self._inputs_NIP, a_NPS = np.linalg.qr(a_NSI.swapaxes(1, 2))
        self._outputs_NOQ, self._b_NQS = np.linalg.qr(b_NOS.astype(np.float64))
        self._a_NSP = a_NPS.swapaxes(1, 2)

    def svd(self, weights_NV: F64) -> tuple[list[Pair], MergeError]:
        """The best approximation of the mixture that the rank allows."""
        rank = self._ranks[0]
        u_NQM, sigma_NM, vt_NMP = np.linalg.svd(self._core(weights_NV), full_matrices=False)
        a_NRP, b_NQR = _near(self._a_NSP[:, :rank], u_NQM, sigma_NM, vt_NMP)
        a_NRI = narrow(a_NRP @ self._inputs_NIP.swapaxes(1, 2))
        b_NOR = narrow(self._outputs_NOQ @ b_NQR)
        missed = MergeError(float((sigma_NM[:, rank:] ** 2).sum()), float((sigma_NM**2).sum()))
        return list(zip(a_NRI, b_NOR, strict=True)), missed

    def averaged(self, weights_NV: F64) -> tuple[list[Pair], MergeError]:
        """The averages of A and of B. Ranks of an adapter beyond the first one's rank are cut off."""
        each_NV = np.broadcast_to(weights_NV, (len(self._factors_NV), weights_NV.shape[1]))
        pairs = [self._average(*one) for one in zip(self._factors_NV, each_NV, strict=True)]
        exact_NQP = self._core(weights_NV)
        select_a_NSR, select_b_NSR = map(np.stack, zip(*map(self._selections, weights_NV), strict=True))
        mean_NQP = (self._b_NQS @ select_b_NSR) @ (select_a_NSR.swapaxes(1, 2) @ self._a_NSP)
        return pairs, MergeError(float(((exact_NQP - mean_NQP) ** 2).sum()), float((exact_NQP**2).sum()))

    def exactly(self, weights_NV: F64) -> MergeError:
        """The error of a mixture that is taken as it is: none, of the mixture's norm."""
        return MergeError(0.0, float((self._core(weights_NV) ** 2).sum()))

    def _core(self, weights_NV: F64) -> F64:
        """The mixture in the bases, over the scale of the first."""
        weights_NS = np.repeat(weights_NV * self._scales, self._ranks, axis=1)
        return (self._b_NQS * weights_NS[:, None]) @ self._a_NSP / self._scales[0]

    def _average(self, pairs: Sequence[Pair], weights_V: F64) -> Pair:
        rank = self._ranks[0]
        terms = [term for term in zip(weights_V, self._ratios, pairs, strict=True) if term[0]]
        a_RI = sum(weight * resized(a.astype(np.float64), 0, rank) for weight, _, (a, _) in terms)
        b_OR = sum(weight * ratio * resized(b.astype(np.float64), 1, rank) for weight, ratio, (_, b) in terms)
        return narrow(a_RI), narrow(b_OR)

    def _selections(self, weights_V: F64) -> tuple[F64, F64]:
        """The averages of A and of B as sums over stacked rows and columns."""
        rank = self._ranks[0]
        eyes = [np.eye(each, rank) for each in self._ranks]
        a = [weight * eye for weight, eye in zip(weights_V, eyes, strict=True)]
        b = [ratio * part for ratio, part in zip(self._ratios, a, strict=True)]
        return np.concatenate(a), np.concatenate(b)


def narrow(values: F64 | float) -> F32:
    """As float32. Numbers from neighbours that are too large for it become infinite, which the merge's loss shows."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)


def resized(values: F64, axis: int, length: int) -> F64:
    """A matrix with an axis cut, or padded with zeros at its end, to this length."""
    cut = values[:length] if axis == 0 else values[:, :length]
    short = length - cut.shape[axis]
    return np.pad(cut, [(0, short if each == axis else 0) for each in (0, 1)]) if short else cut


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
