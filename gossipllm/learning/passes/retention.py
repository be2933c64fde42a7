"""What local steps keep of an earlier adapter: a pull toward its predictions, or steps off the span of its A.

**Predictions** (learning without forgetting, Li and Hoiem, arXiv 1606.09282). Each step adds to the gradient of the
loss that of `strength` times the divergence from earlier predictions, on some windows of the reference set. There is no
gate: what is to be kept is what was predicted, right or wrong.

**Subspace** (after O-LoRA, arXiv 2310.14152). An adapter changes what a layer does with inputs in the span of the rows
of A. Steps of A lose the share `strength` of what lies in the span of the earlier A's rows, and steps of B, which
change what is done with just these inputs, are shortened by that share. At 1 the earlier adapter's output for every
input in that span stays exactly as it was. O-LoRA trains a further adapter in each phase; here the one adapter goes on.

Axes: P adapters, one here; N parameters; B windows, T positions; R rows, V tokens; I inputs of a layer, K ranks.
"""

from __future__ import annotations

import numpy as np
import torch

from gossipllm.learning.jobs.kept import KeptPredictions, KeptSpan
from gossipllm.learning.passes.engine import Engine, Slopes
from gossipllm.learning.passes.flat import FlatLayout
from gossipllm.learning.passes.losses import bearing_rows, tokens_and_mask
from gossipllm.learning.passes.targets import Aims, Targets, divergences
from gossipllm.model.adapter.names import A, B
from gossipllm.text.windows import bearing, rows_of
from wire.floats import F32


def pull(
    engine: Engine, slopes: Slopes, kept: KeptPredictions, theta_PN: torch.Tensor, step: int
) -> torch.Tensor:
    """The gradient of the weighted divergence on the windows of this step, `(1, N)`."""
    batch_B, device = kept.batches_SB[step], engine.base.device
    windows_BT = kept.windows_WT[batch_B]
    true_R = torch.tensor(windows_BT[:, 1:][bearing(windows_BT)], dtype=torch.int64, device=device)
    said = Targets.of((kept.earlier,), rows_of(kept.windows_WT, batch_B), true_R)
    everything = Aims(said.p_JRK, said.tail_JR, torch.ones_like(said.tail_JR))
    tokens_BT, bears_BU = tokens_and_mask(windows_BT, device)

    def loss() -> torch.Tensor:
        logits_RV = bearing_rows(engine.logits(tokens_BT), bears_BU).float()
        logq_RV = logits_RV - torch.logsumexp(logits_RV, dim=-1, keepdim=True)
        return kept.strength * divergences(logq_RV, said, everything).mean(dim=1)

    return slopes.of_loss(theta_PN, loss, "train", tokens=windows_BT.size)[1]


class Fence:
    """Keeps steps off the span of the rows of the earlier factors A."""

    def __init__(self, flat: FlatLayout, kept: KeptSpan, device: torch.device) -> None:
        self._flat = flat
        self._share = kept.strength
        self._bases = {
            name: _basis(value).to(device)
            for name, value in kept.earlier.items()
            if name.endswith(A) and value.any()
        }

    def bend(self, before_PN: torch.Tensor, theta_PN: torch.Tensor) -> None:
        """Take out of a step, in place, what it may not change. `before_PN` are the adapters before it."""
        step_PN = theta_PN - before_PN
        for name, step in self._flat.views(step_PN).items():
            if name in self._bases:
                basis_IK = self._bases[name]
                step.sub_(self._share * (step @ basis_IK) @ basis_IK.T)
            elif name.removesuffix(B) + A in self._bases:
                step.mul_(1 - self._share)
        theta_PN.copy_(before_PN + step_PN)


def _basis(factor_KI: F32) -> torch.Tensor:
    """An orthonormal basis of the span of the rows, `(I, K)`."""
    return torch.tensor(np.linalg.qr(factor_KI.T)[0])
