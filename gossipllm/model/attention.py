"""Causal attention for training on short windows on a CPU, where torch's fused kernel is slow.

torch's kernel spends most of its time in the backward pass, because it computes the probabilities again: for windows of
128 tokens in bfloat16 on one core, 75 ms a layer forward and backward against 32 ms here (32 windows, 4 heads of 64).
This saves a fifth of a training step of the embedded model. Here the probabilities are kept in memory, so this
attention is only for windows up to `LONGEST` tokens; everything else (no gradient, an accelerator, a mask, another
dtype) goes to torch's kernel.

Axes: B windows, H heads, T positions, D width of a head.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel, masking_utils
from transformers.integrations import sdpa_attention

LONGEST: Final = 256
"""Longest window, in tokens, whose probabilities are kept: 128 kB a head and window, in bfloat16."""
_NAME: Final = "gossipllm"
SHORT_IN_FLOAT32: Final = "short_in_float32"
"""An attribute of attention modules that compute so in float32 too, as fused passes do."""


def use_short_attention(model: PreTrainedModel) -> None:
    """Make `model` use this attention where it is faster. Changes nothing for models that do not use torch's kernel, or
    that are on an accelerator."""
    chosen: object = getattr(model.config, "_attn_implementation", None)
    if chosen != "sdpa" or next(model.parameters()).device.type != "cpu":
        return
    cast("Any", AttentionInterface).register(_NAME, _attention)
    cast("Any", AttentionMaskInterface).register(_NAME, cast("Any", masking_utils).sdpa_mask)
    cast("Any", model).set_attn_implementation(_NAME)


def uses_short_attention(attention: torch.nn.Module) -> bool:
    """Whether this attention module runs what `use_short_attention` chose."""
    return getattr(attention.config, "_attn_implementation", None) == _NAME


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    # Everything that the equation below leaves out. A mask is None for a batch of whole windows: transformers then
    # relies on `is_causal`.
    short = (
        attention_mask is None
        and query.requires_grad
        and (query.dtype == torch.bfloat16 or _widely(module, query))
        and query.shape[2] == key.shape[2] <= LONGEST
        and not options.get("dropout")
        and options.get("is_causal") is not False
        and getattr(module, "is_causal", True)
        and options.get("sliding_window") is None
    )
    if not short:
        return cast("Any", sdpa_attention).sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
    groups = query.shape[1] // key.shape[1]
    if groups > 1:  # grouped queries: each key and value serves so many query heads
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    out_BHTD = cast("torch.Tensor", cast("Any", _Attention).apply(query, key, value, float(scale)))
    return out_BHTD.transpose(1, 2).contiguous(), None


def _widely(module: Any, query: torch.Tensor) -> bool:
    return query.dtype == torch.float32 and getattr(module, SHORT_IN_FLOAT32, False)


class _Attention(torch.autograd.Function):
    """softmax(scale Q K') V over the past, with the softmax in float32.

    Autograd would keep the probabilities twice, in float32 for the softmax and in bfloat16 for the product; here only
    the latter are kept.
    """

    @staticmethod
    def forward(
        ctx: Any, q_BHTD: torch.Tensor, k_BHTD: torch.Tensor, v_BHTD: torch.Tensor, scale: float
    ) -> torch.Tensor:
        length = q_BHTD.shape[2]
        future_TT = torch.full((length, length), -torch.inf).triu(1)
        scores_BHTT = torch.matmul(q_BHTD, k_BHTD.transpose(2, 3)).float().mul_(scale).add_(future_TT)
        p_BHTT = torch.softmax(scores_BHTT, dim=-1).to(q_BHTD.dtype)
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, p_BHTT)
        ctx.scale = scale
        return p_BHTT @ v_BHTD

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        q_BHTD, k_BHTD, v_BHTD, p_BHTT = ctx.saved_tensors
        (slope_BHTD,) = slopes
        # The gradient of a softmax, row by row: dS = P * (dP - sum(dP * P)). P is 0 where the future was masked.
        slope_p_BHTT = (slope_BHTD @ v_BHTD.transpose(2, 3)).float()
        wide_BHTT = p_BHTT.float()
        shared_BHT1 = (slope_p_BHTT * wide_BHTT).sum(dim=-1, keepdim=True)
        slope_s_BHTT = slope_p_BHTT.sub_(shared_BHT1).mul_(wide_BHTT).mul_(ctx.scale).to(q_BHTD.dtype)
        return (
            slope_s_BHTT @ k_BHTD,
            slope_s_BHTT.transpose(2, 3) @ q_BHTD,
            p_BHTT.transpose(2, 3) @ slope_BHTD,
            None,
        )
