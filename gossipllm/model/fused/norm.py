"""The norm of Llama and its relatives as one function with a written gradient: y = w * x / sqrt(mean(x^2) + eps).

Transformers composes it of six operations, and autograd's backward pass of a dozen, each of which reads and writes the
hidden states once, in float32. Kept for the backward pass are x and one number a row.

Axes: N rows, I entries of a row.
"""

from __future__ import annotations

from typing import Any, cast

import torch


def rms_normed(x_NI: torch.Tensor, weight_I: torch.Tensor, epsilon: float) -> torch.Tensor:
    """`(..., I)`, in the type of x; computed in float32, rounded once. The weight is a constant."""
    return cast("torch.Tensor", cast("Any", _RmsNormed).apply(x_NI, weight_I, epsilon))


class _RmsNormed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NI: torch.Tensor, weight_I: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = _wide(x_NI.dtype)
        length_N1: torch.Tensor = cast("Any", torch.linalg).vector_norm(
            x_NI, dim=-1, keepdim=True, dtype=wide
        )
        inverse_N1 = length_N1.square_().div_(x_NI.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x_NI, inverse_N1, weight_I)
        # Widened by itself: an operation on two types runs an order slower on a CPU.
        return x_NI.to(wide, copy=True).mul_(inverse_N1).mul_(weight_I.to(wide)).to(x_NI.dtype)

    @staticmethod
    @cast("Any", torch.autograd.function.once_differentiable)
    def backward(ctx: Any, slope_NI: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x_NI, inverse_N1, weight_I = ctx.saved_tensors
        wide = inverse_N1.dtype
        # d/dx of x_i r w_i: r (g w - x r^2 mean(g w x)).
        along_NI, x_wide_NI = slope_NI.to(wide, copy=True).mul_(weight_I.to(wide)), x_NI.to(wide)
        shared_N1 = (along_NI * x_wide_NI).sum(dim=-1, keepdim=True)
        shared_N1.mul_(inverse_N1.square()).div_(-x_NI.shape[-1])
        return along_NI.addcmul_(x_wide_NI, shared_N1).mul_(inverse_N1).to(x_NI.dtype), None, None


def _wide(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32
