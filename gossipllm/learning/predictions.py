"""What the current adapter predicts on the reference set: a peer's evidence.

Axes: R rows (a window's position, window by window), K most probable tokens, V vocabulary.
"""

from __future__ import annotations

import torch

from gossipllm.learning.evaluation import forward
from gossipllm.text.data import Windows
from wire.logits import RowsShape, SparseRows


@torch.inference_mode()
def predict(model: torch.nn.Module, windows_WT: Windows, shape: RowsShape) -> SparseRows:
    """The `shape.top` most probable next tokens at every position but the last of each window.

    The last position is left out because no token follows it, so that rows and losses pair up.
    """
    ids: list[torch.Tensor] = []
    logs: list[torch.Tensor] = []
    tails: list[torch.Tensor] = []
    for logits_BTV, _ in forward(model, windows_WT, shape.vocabulary):
        logp_RV = torch.log_softmax(logits_BTV[:, :-1].float(), dim=-1).flatten(0, 1)
        top_RK, ids_RK = logp_RV.topk(shape.top, dim=-1)
        ids_RK, order_RK = ids_RK.sort(dim=-1)
        top_RK = top_RK.gather(-1, order_RK)
        ids.append(ids_RK)
        logs.append(top_RK)
        tails.append((1 - top_RK.double().exp().sum(dim=-1)).clamp(0, 1).float())
    return SparseRows(
        torch.cat(ids).cpu().numpy().astype("uint32"),
        torch.cat(logs).clamp(max=0).cpu().numpy(),
        torch.cat(tails).cpu().numpy(),
    )
