"""How well the current adapter predicts given windows.

Axes: W windows, T positions, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional

from gossipllm.text.data import Windows
from wire.floats import F32

_LOGITS_AT_ONCE = 2**24
"""Logits of one forward pass: 64 MB as float32, and about four times that at the peak. Guess."""


@torch.inference_mode()
def window_losses(model: torch.nn.Module, windows_WT: Windows, vocabulary: int) -> F32:
    """Mean loss of each window, `(W,)` nats per token, over every position but the first."""
    losses = [
        next_token_losses(logits_BTV, tokens_BT).mean(dim=1)
        for logits_BTV, tokens_BT in forward(model, windows_WT, vocabulary)
    ]
    return torch.cat(losses).cpu().numpy()


def next_token_losses(logits_BTV: torch.Tensor, tokens_BT: torch.Tensor) -> torch.Tensor:
    """`(B, T-1)` nats; the softmax is taken in float32 whatever the model's type."""
    # Flattened: with the vocabulary in the middle, torch takes five times as long (measured, V = 4096).
    scores_NV = logits_BTV[:, :-1].float().flatten(0, 1)
    losses_N = functional.cross_entropy(scores_NV, tokens_BT[:, 1:].flatten(), reduction="none")
    return losses_N.view(tokens_BT.shape[0], -1)


def forward(
    model: torch.nn.Module, windows_WT: Windows, vocabulary: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`(logits_BTV, tokens_BT)` for all windows in order, as many at once as memory allows."""
    at_once = max(1, _LOGITS_AT_ONCE // (windows_WT.shape[1] * vocabulary))
    for first in range(0, len(windows_WT), at_once):
        tokens_BT = to_device(windows_WT[first : first + at_once], model)
        yield logits(model, tokens_BT), tokens_BT


def to_device(windows_BT: Windows, model: torch.nn.Module) -> torch.Tensor:
    device = next(model.parameters()).device
    return torch.tensor(windows_BT, dtype=torch.int64, device=device)


def logits(model: torch.nn.Module, tokens_BT: torch.Tensor) -> torch.Tensor:
    output: Any = model(input_ids=tokens_BT, use_cache=False)
    return output.logits
