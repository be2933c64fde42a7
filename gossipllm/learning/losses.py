"""The loss of each next token, computed without a float32 copy of all logits.

The logits are the largest tensor of a small model's pass. `cross_entropy` on them casts all to float32, keeps
that, its log-softmax and the gradient; here rows are cast a block at a time while they are in the cache, and the
backward pass makes the gradient from the logits and one number a row. Measured on two cores for 2,048 rows of
4,096 tokens, forward and backward: 15 ms against 50 ms in bfloat16, 28 against 36 in float32.

Axes: B windows, T positions, V tokens of the vocabulary; N = B T rows.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch

_BLOCK: Final = 256


def token_losses(logits_BTV: torch.Tensor, tokens_BT: torch.Tensor) -> torch.Tensor:
    """`(B, T-1)` nats, float32: the loss of every token but the first of its window."""
    windows, positions = tokens_BT.shape
    # The last position predicts nothing that is known: any target will do, its loss is cut off.
    targets_N = tokens_BT.roll(-1, dims=1).flatten()
    losses_N = cast("torch.Tensor", cast("Any", _TokenLosses).apply(logits_BTV.flatten(0, 1), targets_N))
    return losses_N.view(windows, positions)[:, :-1]


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        whole_N = torch.empty(len(logits_NV), device=logits_NV.device)
        for rows in _blocks(logits_NV):
            whole_N[rows] = torch.logsumexp(logits_NV[rows].float(), dim=-1)
        ctx.save_for_backward(logits_NV, whole_N, targets_N)
        return whole_N - logits_NV.gather(1, targets_N[:, None]).squeeze(1).float()

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits_NV, whole_N, targets_N = ctx.saved_tensors
        slope_N1 = slopes[0][:, None]
        gradient_NV = torch.empty_like(logits_NV)
        for rows in _blocks(logits_NV):
            block = (logits_NV[rows].float() - whole_N[rows, None]).exp_().mul_(slope_N1[rows])
            block.scatter_add_(1, targets_N[rows, None], -slope_N1[rows])
            gradient_NV[rows] = block
        return gradient_NV, None


def _blocks(logits_NV: torch.Tensor) -> list[slice]:
    # A launch costs more than a cache miss on an accelerator, whose memory bounds the pass as a whole.
    size = _BLOCK if logits_NV.device.type == "cpu" else 2**14
    return [slice(first, first + size) for first in range(0, len(logits_NV), size)]
