"""The part of a model's logits that a peer sends as evidence.

Axes: R rows (a window's position, window by window), K kept tokens, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from wire.floats import F32


def likeliest(logits_RV: torch.Tensor, top: int, vocabulary: int) -> tuple[NDArray[np.uint32], F32, F32]:
    """The `top` most probable tokens of each row: ids rising, log-probabilities, and the mass of all others. Outputs
    from `vocabulary` on stand for no token and count as others."""
    values_RK, ids_RK = logits_RV[:, :vocabulary].float().topk(top, dim=-1)
    ids_RK, order_RK = ids_RK.sort(dim=-1)
    whole_R1 = torch.logsumexp(logits_RV.float(), dim=-1, keepdim=True)
    logp_RK = (values_RK.gather(-1, order_RK) - whole_R1).clamp(max=0)
    tail_R = (1 - logp_RK.double().exp().sum(dim=-1)).clamp(0, 1).float()
    return ids_RK.cpu().numpy().astype("uint32"), logp_RK.cpu().numpy(), tail_R.cpu().numpy()


def largest(logits_RV: torch.Tensor, top: int) -> tuple[NDArray[np.uint32], F32]:
    """The `top` largest logits of each row, as they are: ids rising, values."""
    values_RK, ids_RK = logits_RV.float().topk(top, dim=-1)
    ids_RK, order_RK = ids_RK.sort(dim=-1)
    return ids_RK.cpu().numpy().astype("uint32"), values_RK.gather(-1, order_RK).cpu().numpy()
