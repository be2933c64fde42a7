"""Linear maps from a large layer's inputs to a small one's, and from a small layer's outputs to a large one's.

    ridge   P = (X'X / n + ridge * t I)^-1 X'Y / n,   t the mean of the diagonal of X'X / n; the ridge of the table that
            explains most of what was held out
    svd     without data: both weights as U S V', the i-th direction of one mapped to the i-th of the other (after
            Cross-LoRA, arXiv 2508.05232). Signs of singular vectors are free: each right one is turned so that its
            largest entry is positive
    random  normal numbers with the norm of a map of `svd`: what any map would do (a control)

Axes: X the numbers mapped from, Y those mapped to; O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import torch

from gossipllm.projection.statistics import PairSums, Sums

RIDGES: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridges that are tried, as shares of the mean of the diagonal. Guess."""


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """`inputs_XY` maps the large layer's inputs to the small one's, `outputs_XY` the small layer's outputs to the large
    one's, row vectors times the map. `explained` is the share of the variance of each that the map explains in text
    that was held out, (inputs, outputs), below 0 where the mean would do better; None where no text was used."""

    inputs_XY: torch.Tensor
    outputs_XY: torch.Tensor
    explained: tuple[float, float] | None


def ridge_maps(sums: PairSums) -> Maps:
    inputs_XY, one = _ridge(sums.inputs, Sums.about_zero)
    outputs_XY, other = _ridge(sums.outputs, Sums.about_means)
    return Maps(inputs_XY, outputs_XY, (one, other))


def svd_maps(small_OI: torch.Tensor, large_OI: torch.Tensor) -> Maps:
    u_small, v_small = _directions(small_OI)
    u_large, v_large = _directions(large_OI)
    kept = min(u_small.shape[1], u_large.shape[1])
    return Maps(v_large[:, :kept] @ v_small[:, :kept].T, u_small[:, :kept] @ u_large[:, :kept].T, None)


def random_maps(small_OI: torch.Tensor, large_OI: torch.Tensor, seed: int) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    kept = min(*small_OI.shape, *large_OI.shape)

    def drawn(rows: int, columns: int) -> torch.Tensor:
        values = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
        return values * (kept**0.5 / float(values.square().sum().sqrt()))

    (o_small, i_small), (o_large, i_large) = small_OI.shape, large_OI.shape
    return Maps(drawn(i_large, i_small), drawn(o_small, o_large), None)


def _ridge(
    sums: tuple[Sums, Sums], moments: Callable[[Sums], tuple[torch.Tensor, torch.Tensor, float]]
) -> tuple[torch.Tensor, float]:
    """The map that explains most of what was held out, and which share that is."""
    xx_XX, xy_XY, _ = moments(sums[0])
    held_xx_XX, held_xy_XY, held_yy = moments(sums[1])
    scale = float(xx_XX.diagonal().mean()) or 1.0
    values_X, vectors_XX = cast("tuple[torch.Tensor, torch.Tensor]", cast("Any", torch.linalg).eigh(xx_XX))
    turned_XY = vectors_XX.T @ xy_XY

    def tried(ridge: float) -> tuple[float, torch.Tensor]:
        map_XY = vectors_XX @ (turned_XY / (values_X.clamp_min(0) + ridge * scale)[:, None])
        lacking = (
            held_yy - 2 * float((map_XY * held_xy_XY).sum()) + float((map_XY * (held_xx_XX @ map_XY)).sum())
        )
        return lacking, map_XY

    lacking, map_XY = min((tried(ridge) for ridge in RIDGES), key=lambda one: one[0])
    _, _, variance = sums[1].about_means()
    return map_XY, 1 - lacking / variance if variance > 0 else 0.0


def _directions(weight_OI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Left and right singular vectors as columns, by falling singular values."""
    u_OK, _, vt_KI = cast(
        "tuple[torch.Tensor, torch.Tensor, torch.Tensor]",
        cast("Any", torch.linalg).svd(weight_OI.double(), full_matrices=False),
    )
    largest = vt_KI.abs().argmax(dim=1, keepdim=True)
    sign_K = vt_KI.gather(1, largest).sign().squeeze(1)
    return u_OK * sign_K, (vt_KI * sign_K[:, None]).T
