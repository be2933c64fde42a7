"""Cross-entropy of a model on a stream of tokens.

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
"""Windows in one forward pass. The same number as `PretrainingConfig.micro_windows`, and for the same reason: with
more, the logits leave the cache."""


def windows(stream: Tokens, starts: NDArray[np.int64], length: int) -> torch.Tensor:
    """`(B, length + 1)`: the windows that begin at `starts`. Columns 0 to length - 1 are inputs, columns 1 to length
    their targets."""
    ids_BT = stream[starts[:, None] + np.arange(length + 1)].astype(np.int64)
    return torch.from_numpy(ids_BT)  # pyright: ignore[reportUnknownMemberType]


def losses(model: LlamaForCausalLM, batch_BT: torch.Tensor, *, bf16: bool) -> torch.Tensor:
    """`(B * (T - 1),)`: the cross-entropy of each target in nats."""
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
    window_tokens: int,
    bf16: bool,
    count: int | None = None,
) -> tuple[float, float]:
    """Nats per token and bits per byte over `count` evenly spaced windows, or over all windows without `count`.

    The model reads each window without the text before it. `bytes_V` holds the number of bytes of each token, so that
    bits per byte can be compared between tokenizers.
    """
    starts = np.arange(0, len(stream) - window_tokens, window_tokens)
    if count is not None and count < len(starts):
        starts = starts[np.linspace(0, len(starts) - 1, count).astype(np.int64)]
    nats, tokens, size_bytes = 0.0, 0, 0
    with torch.inference_mode():
        for first in range(0, len(starts), _WINDOWS_AT_ONCE):
            batch_BT = windows(stream, starts[first : first + _WINDOWS_AT_ONCE], window_tokens)
            nats += losses(model, batch_BT, bf16=bf16).double().sum().item()
            targets = batch_BT[:, 1:].numpy()
            tokens += targets.size
            size_bytes += int(bytes_V[targets].sum())
    return nats / tokens, nats / size_bytes / math.log(2)
