"""The distance of a model's predictions from the base's, for models with a compressed context.

Axes: B windows, T positions, V tokens of the vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers import PreTrainedModel

from gossipllm.text.windows import Windows, decoded


def fidelity(base: PreTrainedModel, other: PreTrainedModel, windows_WT: Windows, *, batch: int = 4) -> float:
    """KL(base || other) of the next token in nats, the mean over all positions; 0 where the predictions are equal.

    A fetched context is used only after this measurement: bytes of the right shapes may hold any numbers.
    """
    total = 0.0
    with torch.inference_mode():
        for first in range(0, len(windows_WT), batch):
            ids = decoded(windows_WT[first : first + batch])
            tokens_BT = torch.tensor(ids, dtype=torch.int64, device=base.device)
            want_BTV, made_BTV = (_predicted(model, tokens_BT) for model in (base, other))
            total += float((want_BTV.exp() * (want_BTV - made_BTV)).sum())
    return total / windows_WT.size


def _predicted(model: PreTrainedModel, tokens_BT: torch.Tensor) -> torch.Tensor:
    logits_BTV: torch.Tensor = cast("Any", model)(input_ids=tokens_BT, use_cache=False).logits
    return logits_BTV.float().log_softmax(dim=-1)
