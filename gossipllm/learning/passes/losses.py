"""The loss of each next token, computed without a float32 copy of all logits, and its means where not all count.

The logits are the largest tensor of a small model's pass. `cross_entropy` on them casts all to float32, keeps
that, its log-softmax and the gradient; here rows are cast a block at a time while they are in the cache, and the
backward pass makes the gradient from the logits and one number a row. Measured on two cores for 2,048 rows of
4,096 tokens, forward and backward: 15 ms against 50 ms in bfloat16, 28 against 36 in float32.

Windows may hold entries that bear no loss (`gossipllm.text.windows.Windows`). Where all bear it there is no mask, and
the means are the plain ones, to the last bit.

Axes: B windows, T positions, U = T - 1 targets, V tokens of the vocabulary; N = B T rows, R some of them; P equal
groups of windows.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch

from gossipllm.text.windows import Windows, bearing, decoded
from trust.rows.config import Reduction

_BLOCK: Final = 256


def tokens_and_mask(windows_BT: Windows, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Token ids for a model, `(B, T)`, and which targets bear loss, `(B, U)`; None where all do.

    Leading axes are flattened into B.
    """
    flat_BT = windows_BT.reshape(-1, windows_BT.shape[-1])
    tokens_BT = torch.tensor(decoded(flat_BT), dtype=torch.int64, device=device)
    bears_BU = bearing(flat_BT)
    return tokens_BT, None if bears_BU.all() else torch.tensor(bears_BU, device=device)


def bearing_rows(logits_BTV: torch.Tensor, bears_BU: torch.Tensor | None) -> torch.Tensor:
    """`(R, V)`: the logits, or whatever has one entry or more for a position, where the next token bears loss."""
    predicting_BUV = logits_BTV[:, :-1]
    return predicting_BUV.flatten(0, 1) if bears_BU is None else predicting_BUV[bears_BU]


def window_losses(
    losses_BU: torch.Tensor, bears_BU: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each window's sum over the targets that bear loss, and their number, both `(B,)` float32."""
    if bears_BU is None:
        return losses_BU.sum(dim=1), torch.full_like(losses_BU[:, 0], losses_BU.shape[1])
    # `where` instead of a product: a loss that does not count may be infinite, and infinity times 0 is not a number.
    return torch.where(bears_BU, losses_BU, 0.0).sum(dim=1), bears_BU.sum(dim=1).float()


def window_means(losses_BU: torch.Tensor, bears_BU: torch.Tensor | None) -> torch.Tensor:
    """`(B,)`: each window's mean over the targets that bear loss, 0 where none does."""
    if bears_BU is None:
        return losses_BU.mean(dim=1)
    sum_B, count_B = window_losses(losses_BU, bears_BU)
    return sum_B / count_B.clamp(min=1)


def pooled(
    losses_BU: torch.Tensor,
    bears_BU: torch.Tensor | None,
    *,
    groups: int = 1,
    reduction: Reduction = "tokens",
) -> torch.Tensor:
    """`(P,)`: the mean over the windows of each of `groups` equal groups, 0 where nothing bears loss.

    "tokens": over all targets that bear loss. "sequences": of the windows' own means, those without such a target
    left out.
    """
    if bears_BU is None:
        return losses_BU.reshape(groups, -1).mean(dim=1)
    sum_B, count_B = window_losses(losses_BU, bears_BU)
    if reduction == "sequences":
        sum_B, count_B = sum_B / count_B.clamp(min=1), (count_B > 0).float()
    return sum_B.reshape(groups, -1).sum(dim=1) / count_B.reshape(groups, -1).sum(dim=1).clamp(min=1)


def token_losses(logits_BTV: torch.Tensor, tokens_BT: torch.Tensor) -> torch.Tensor:
    """`(B, T-1)` nats, float32: the loss of every token but the first of its window."""
    windows, positions = tokens_BT.shape
    # The last position predicts nothing that is known: any target will do, its loss is cut off.
    targets_N = tokens_BT.roll(-1, dims=1).flatten()
    losses_N = cast("torch.Tensor", cast("Any", _TokenLosses).apply(logits_BTV.flatten(0, 1), targets_N))
    return losses_N.view(windows, positions)[:, :-1]


def block_bytes(rows: int, vocabulary: int, device: torch.device) -> int:
    """What the backward pass of so many rows takes besides the logits and their gradient."""
    return 4 * vocabulary * min(rows, _rows_at_once(device))


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
            # Not kept in a variable: with a large vocabulary, two blocks at once are 100 MB.
            gradient_NV[rows] = _gradient(
                logits_NV[rows], whole_N[rows, None], targets_N[rows, None], slope_N1[rows]
            )
        return gradient_NV, None


def _gradient(
    logits_RV: torch.Tensor, whole_R1: torch.Tensor, targets_R1: torch.Tensor, slope_R1: torch.Tensor
) -> torch.Tensor:
    """Of R rows, float32."""
    block_RV = logits_RV.to(torch.float32, copy=True).sub_(whole_R1).exp_().mul_(slope_R1)
    return block_RV.scatter_add_(1, targets_R1, -slope_R1)


def _blocks(logits_NV: torch.Tensor) -> list[slice]:
    size = _rows_at_once(logits_NV.device)
    return [slice(first, first + size) for first in range(0, len(logits_NV), size)]


def _rows_at_once(device: torch.device) -> int:
    # A launch costs more than a cache miss on an accelerator, whose memory bounds the pass as a whole.
    return _BLOCK if device.type == "cpu" else 2**14
