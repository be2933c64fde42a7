"""The importance of each layer: the sum over its weights of (gradient * weight)^2, as in LEFF.

A term is the square of the loss's first-order change if that weight were zero. There are two ways to measure it. The
gradients of local steps give it for the layers that they train, at no cost. A probe gives it for all layers; its
backward pass reduces each gradient as soon as it is there and frees it, so that beside the adapter it needs memory
for about one block.

For differences from the base, the weight is the base's weight plus the difference. For a tensor that is zero, such as a
factor of LoRA before it is trained, the sum would be zero: there the gradient alone is squared (Fisher information).

Axes: P adapters, N their parameters; L layers; B windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch

from gossipllm.learning.jobs.jobs import ContextModel, ProbeJob
from gossipllm.learning.passes.engine import Engine, mean_losses
from gossipllm.learning.passes.flat import FlatLayout
from gossipllm.model.contexts.config import BlockWindow
from wire.floats import F32


class ByProduct:
    """Importance from the gradients of local steps. A tensor that was zero at the first step counts by its gradient
    alone in all steps, so that terms of one kind are summed."""

    def __init__(self, engine: Engine, flat: FlatLayout, theta_PN: torch.Tensor) -> None:
        blueprint = engine.blueprint
        self._terms = [
            (blueprint.layer_of(name), place, base_N, _nothing_yet(_weight(theta_PN[:, place], base_N)))
            for name, (place, _) in flat.places.items()
            if blueprint.layer_of(name) >= 0
            for base_N in (engine.base_weight(name),)
        ]
        self._sums_PL = _zeros(engine, len(theta_PN))
        self._steps = 0

    def add(self, theta_PN: torch.Tensor, gradient_PN: torch.Tensor) -> None:
        """Add the terms of one step: gradients, and the weights at which they were taken."""
        self._steps += 1
        for layer, place, base_N, nothing_P1 in self._terms:
            weight_PN = _weight(theta_PN[:, place], base_N)
            self._sums_PL[:, layer] += _said(gradient_PN[:, place], weight_PN, nothing_P1)

    def means(self) -> list[tuple[float | None, ...]]:
        """Means over the steps: for each adapter a number for each trained layer and None for the others."""
        seen = {layer for layer, *_ in self._terms} if self._steps else set[int]()
        rows: list[list[float]] = cast("Any", self._sums_PL / max(self._steps, 1)).tolist()
        return [tuple(value if layer in seen else None for layer, value in enumerate(row)) for row in rows]


def probe(engine: Engine, jobs: Sequence[ProbeJob]) -> list[tuple[float, ...]]:
    """The importance of all layers at each adapter, by one backward pass."""
    # Separate leaves instead of views of one matrix, so that each gradient can be freed by itself.
    leaves = {name: _leaf(engine, [job.state[name] for job in jobs]) for name in engine.whole.places}
    sums_PL = _zeros(engine, len(jobs))
    hooks: list[Any] = [
        cast("Any", leaf).register_post_accumulate_grad_hook(_reducer(engine, name, sums_PL))
        for name, leaf in leaves.items()
    ]
    context_model = ContextModel(engine.base.model, checkpointed=BlockWindow(0, engine.blueprint.layers))
    try:
        with engine.mounted(leaves, context_model):
            windows_PBT = np.stack([job.windows_BT for job in jobs])
            loss_P = mean_losses(
                engine, windows_PBT, reduction=jobs[0].reduction, context_model=context_model
            )
            cast("Any", loss_P.sum()).backward()
    finally:
        for hook in hooks:
            hook.remove()
    engine.meter.forward["probe"] += windows_PBT.size
    engine.meter.backward["probe"] += windows_PBT.size
    return [tuple(row) for row in cast("Any", sums_PL).tolist()]


def _leaf(engine: Engine, values: Sequence[F32]) -> torch.Tensor:
    stacked = torch.tensor(np.stack(values), dtype=engine.base.dtype, device=engine.base.device)
    return stacked.requires_grad_()


def _reducer(engine: Engine, name: str, sums_PL: torch.Tensor) -> Callable[[torch.Tensor], None]:
    layer = engine.blueprint.layer_of(name)

    def reduce(leaf: torch.Tensor) -> None:
        assert leaf.grad is not None, "the hook runs once there is one"
        if layer >= 0:
            weight_PN = _weight(leaf.detach().flatten(1).float(), engine.base_weight(name))
            sums_PL[:, layer] += _said(leaf.grad.flatten(1).float(), weight_PN, _nothing_yet(weight_PN))
        leaf.grad = None

    return reduce


def _weight(theta_PN: torch.Tensor, base_N: torch.Tensor | None) -> torch.Tensor:
    return theta_PN if base_N is None else theta_PN + base_N


def _nothing_yet(weight_PN: torch.Tensor) -> torch.Tensor:
    """Which adapters have nothing but zeros in this tensor, `(P, 1)`."""
    return ~weight_PN.any(dim=1, keepdim=True)


def _said(gradient_PN: torch.Tensor, weight_PN: torch.Tensor, nothing_P1: torch.Tensor) -> torch.Tensor:
    """One tensor's part of the importance, `(P,)`."""
    factor_PN = torch.where(nothing_P1, 1.0, weight_PN)
    return (gradient_PN * factor_PN).square().sum(dim=1, dtype=torch.float64)


def _zeros(engine: Engine, adapters: int) -> torch.Tensor:
    return torch.zeros(adapters, engine.blueprint.layers, dtype=torch.float64, device=engine.base.device)
