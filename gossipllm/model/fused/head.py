"""The losses of next tokens from the hidden states, without all logits at once.

The logits of some rows are made, turned into probabilities and into the gradient with respect to the hidden states,
and forgotten: a row's gradient is known up to the factor with which its loss will count. So the exponential of each
logit is taken once instead of twice, and logits and their gradient are never held together, nor those of many rows.

Axes: N rows (windows by positions), M rows of a product, R rows of a softmax, H width of the hidden states, V tokens of
the vocabulary.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch

_ENTRIES: Final = 2**23
"""Logits that are held at a time: 32 MB in float32. Products of fewer rows are slower: for each the weight is laid out
anew."""
_ROWS: Final = 256
"""Rows whose softmax is taken at a time, in the processor's caches."""


def next_token_losses(
    hidden_NH: torch.Tensor, weight_VH: torch.Tensor, targets_N: torch.Tensor
) -> torch.Tensor:
    """`(N,)` nats, float32 (float64 from float64). The weight is a constant. Differentiable once."""
    return cast("torch.Tensor", cast("Any", _Losses).apply(hidden_NH, weight_VH, targets_N))


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_NH: torch.Tensor, weight_VH: torch.Tensor, targets_N: torch.Tensor
    ) -> torch.Tensor:
        wide = torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32
        losses_N = torch.empty(len(hidden_NH), dtype=wide, device=hidden_NH.device)
        slope_NH = torch.empty_like(hidden_NH)
        for some in _slices(len(hidden_NH), max(1, _ENTRIES // len(weight_VH))):
            logits_MV = hidden_NH[some] @ weight_VH.T
            for rows in _slices(len(logits_MV), _ROWS):
                losses_N[some][rows] = _losses(logits_MV[rows], targets_N[some][rows, None], wide)
            torch.mm(logits_MV, weight_VH, out=slope_NH[some])
        ctx.save_for_backward(slope_NH)
        return losses_N

    @staticmethod
    @cast("Any", torch.autograd.function.once_differentiable)
    def backward(ctx: Any, slope_N: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slope_NH,) = ctx.saved_tensors
        return slope_NH * slope_N[:, None].to(slope_NH.dtype), None, None


def _losses(logits_RV: torch.Tensor, targets_R1: torch.Tensor, wide: torch.dtype) -> torch.Tensor:
    """The losses of R rows. Turns their logits into the gradients of the losses with respect to them, in place."""
    wide_RV = logits_RV.to(wide)
    p_RV = torch.softmax(wide_RV, dim=-1)
    # The largest probability is at least 1 / V, so its logarithm is exact where that of the target's may be infinite.
    log_sum_R = wide_RV.amax(dim=-1) - p_RV.amax(dim=-1).log_()
    losses_R = log_sum_R - wide_RV.gather(1, targets_R1).squeeze(1)
    logits_RV.copy_(p_RV.scatter_add_(1, targets_R1, torch.full_like(p_RV[:, :1], -1)))
    return losses_R


def _slices(count: int, step: int) -> list[slice]:
    return [slice(first, first + step) for first in range(0, count, step)]
