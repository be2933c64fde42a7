"""Causal attention on rotated queries and keys, for short windows, as one function with a written gradient.

The layout of heads, the rotation by position, the softmax and their gradients are a dozen operations each in
transformers, most of which only move numbers. As in `gossipllm.model.attention`, the probabilities are kept in memory.
A rotation's gradient is the rotation back.

Axes: B windows, T positions, H heads, G heads of keys and values (H a multiple of G), D width of a head.
"""

from __future__ import annotations

from typing import Any, cast

import torch


def rotated_attention(
    q_BTHD: torch.Tensor,
    k_BTGD: torch.Tensor,
    v_BTGD: torch.Tensor,
    cos_TD: torch.Tensor,
    sin_TD: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """`(B, T, H, D)`: softmax(scale Q K') V over the past. Halves of D are rotated against each other, as in Llama; of
    `sin_TD` and `cos_TD` the two halves are equal. Differentiable once."""
    return cast("torch.Tensor", cast("Any", _Attention).apply(q_BTHD, k_BTGD, v_BTGD, cos_TD, sin_TD, scale))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q_BTHD: torch.Tensor,
        k_BTGD: torch.Tensor,
        v_BTGD: torch.Tensor,
        cos_TD: torch.Tensor,
        sin_TD: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        groups = q_BTHD.shape[2] // k_BTGD.shape[2]
        q_BHTD = _rotated(q_BTHD, cos_TD, sin_TD).transpose(1, 2).contiguous()
        k_BHTD = _repeated(_rotated(k_BTGD, cos_TD, sin_TD), groups).transpose(1, 2).contiguous()
        v_BHTD = _repeated(v_BTGD, groups).transpose(1, 2).contiguous()
        length, wide = q_BTHD.shape[1], _wide(q_BTHD.dtype)
        future_TT = torch.full((length, length), -torch.inf, dtype=wide).triu_(1)
        scores_BHTT = torch.matmul(q_BHTD, k_BHTD.transpose(2, 3)).to(wide)
        p_BHTT = torch.softmax(torch.add(future_TT, scores_BHTT, alpha=scale), dim=-1).to(q_BTHD.dtype)
        out_BHTD = p_BHTT @ v_BHTD
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, p_BHTT, out_BHTD, cos_TD, sin_TD)
        ctx.scale, ctx.groups = scale, groups
        return out_BHTD.transpose(1, 2).contiguous()

    @staticmethod
    @cast("Any", torch.autograd.function.once_differentiable)
    def backward(ctx: Any, slope_BTHD: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q_BHTD, k_BHTD, v_BHTD, p_BHTT, out_BHTD, cos_TD, sin_TD = ctx.saved_tensors
        wide = _wide(q_BHTD.dtype)
        slope_BHTD = slope_BTHD.transpose(1, 2).contiguous()
        # The gradient of a softmax, row by row: dS = P * (dP - sum(dP * P)), and the sum is that of the output's
        # entries times their gradients, a shorter one. P is 0 where the future was masked.
        shared_BHT1 = slope_BHTD.to(wide).mul(out_BHTD.to(wide)).sum(dim=-1, keepdim=True)
        slope_p_BHTT = (slope_BHTD @ v_BHTD.transpose(2, 3)).to(wide)
        slope_s_BHTT = slope_p_BHTT.sub_(shared_BHT1).mul_(p_BHTT.to(wide)).mul_(ctx.scale).to(q_BHTD.dtype)
        slope_q_BTHD = (slope_s_BHTT @ k_BHTD).transpose(1, 2)
        slope_k_BTGD = _summed((slope_s_BHTT.transpose(2, 3) @ q_BHTD).transpose(1, 2), ctx.groups)
        slope_v_BTGD = _summed((p_BHTT.transpose(2, 3) @ slope_BHTD).transpose(1, 2), ctx.groups)
        back_TD = -sin_TD
        return (
            _rotated(slope_q_BTHD, cos_TD, back_TD),
            _rotated(slope_k_BTGD, cos_TD, back_TD),
            slope_v_BTGD.contiguous(),
            None,
            None,
            None,
        )


def _rotated(x_BTHD: torch.Tensor, cos_TD: torch.Tensor, sin_TD: torch.Tensor) -> torch.Tensor:
    """Contiguous: (x1, x2) becomes (x1 cos - x2 sin, x2 cos + x1 sin)."""
    half = x_BTHD.shape[-1] // 2
    cos_T1D, sin_T1D = cos_TD[:, None, :half], sin_TD[:, None, :half]
    x1, x2 = x_BTHD[..., :half], x_BTHD[..., half:]
    out = torch.empty(x_BTHD.shape, dtype=x_BTHD.dtype, device=x_BTHD.device)
    torch.mul(x1, cos_T1D, out=out[..., :half]).addcmul_(x2, sin_T1D, value=-1)
    torch.mul(x2, cos_T1D, out=out[..., half:]).addcmul_(x1, sin_T1D)
    return out


def _repeated(x_BTGD: torch.Tensor, groups: int) -> torch.Tensor:
    """Each head of keys and values serves so many query heads."""
    return x_BTGD if groups == 1 else x_BTGD.repeat_interleave(groups, dim=2)


def _summed(x_BTHD: torch.Tensor, groups: int) -> torch.Tensor:
    if groups == 1:
        return x_BTHD
    windows, positions, heads, width = x_BTHD.shape
    return x_BTHD.reshape(windows, positions, heads // groups, groups, width).sum(dim=3)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32
