"""How well a model predicts a stream of tokens.

Axes: B windows, T positions, V tokens of the vocabulary.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import LlamaForCausalLM

from gossipllm.base.making.vocabulary import Tokens

_WINDOWS_AT_ONCE = 4
"""As in `PretrainingConfig.micro_windows`, for the same reason."""


def windows(stream: Tokens, starts: NDArray[np.int64], length: int) -> torch.Tensor:
    """`(B, length + 1)`: the inputs and, one further, their targets."""
    ids_BT = stream[starts[:, None] + np.arange(length + 1)].astype(np.int64)
    return torch.from_numpy(ids_BT)  # pyright: ignore[reportUnknownMemberType]


def losses(model: LlamaForCausalLM, batch_BT: torch.Tensor, *, bf16: bool) -> torch.Tensor:
    """Cross-entropy in nats of each target, `(B * (T - 1),)`."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits_BTV = model(input_ids=batch_BT[:, :-1], use_cache=False).logits
    return functional.cross_entropy(
        logits_BTV.float().flatten(0, 1), batch_BT[:, 1:].flatten(), reduction="none"
    )


def evaluate(
    model: LlamaForCausalLM,
    stream: Tokens,
    bytes_V: NDArray[np.int64],
    *,
    context: int,
    bf16: bool,
    count: int | None = None,
) -> tuple[float, float]:
    """Nats a token and bits a byte over `count` evenly spaced windows, or all there are.

    Each window begins without memory of the text before it. Bits a byte can be compared between
    tokenizers; `bytes_V` says how many bytes each token stands for.
    """
    starts = np.arange(0, len(stream) - context, context)
    if count is not None and count < len(starts):
        starts = starts[np.linspace(0, len(starts) - 1, count).astype(np.int64)]
    nats, tokens, size_bytes = 0.0, 0, 0
    with torch.inference_mode():
        for first in range(0, len(starts), _WINDOWS_AT_ONCE):
            batch_BT = windows(stream, starts[first : first + _WINDOWS_AT_ONCE], context)
            nats += losses(model, batch_BT, bf16=bf16).double().sum().item()
            targets = batch_BT[:, 1:].numpy()
            tokens += targets.size
            size_bytes += int(bytes_V[targets].sum())
    return nats / tokens, nats / size_bytes / math.log(2)
