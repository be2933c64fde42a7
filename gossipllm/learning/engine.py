"""Adapters beside the layers of one frozen base, as the rows of a matrix.

An adapter is a vector of its trained tensors, one after the other, and P of them are the rows of a matrix; their
tensors in the layers are views of it. So what is done to all parameters (clipping, AdamW, a cast) is one operation
on a matrix, with each peer's own norm, rate and count of steps, and memory grows by four vectors an adapter: itself,
its gradient and two moments. The base is held once.

Axes: P adapters, N their parameters; B windows of a pass, P equal groups of them; T positions, V tokens of the
vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from gossipllm.config import AdapterConfig
from gossipllm.learning.jobs import Purpose
from gossipllm.learning.losses import token_losses
from gossipllm.model.adapters import attach
from gossipllm.model.models import Base
from gossipllm.model.names import A, B, State
from wire.floats import F32
from wire.tensors import TensorSpec


@dataclass(slots=True)
class Meter:
    """Tokens that went through the base, by purpose. A backward pass counts apart from its forward pass."""

    forward: Counter[str] = field(default_factory=Counter[str])
    backward: Counter[str] = field(default_factory=Counter[str])


class Engine:
    """A base with room for adapters beside it. The layers hold what is being computed: one thread at a time."""

    def __init__(self, base: Base, config: AdapterConfig) -> None:
        self.base = base
        self.meter = Meter()
        self.vocabulary = base.vocabulary
        self.token_bytes = _training_bytes(base)
        attached = attach(base.model, config)
        self.blueprint = attached.blueprint
        self._layers = attached.layers
        trained = self.blueprint.trained
        self._places = _places(trained.tensors)
        self.parameters = trained.count
        frozen: State = self.blueprint.shared if trained is not self.blueprint.layout else {}
        self._frozen = {
            name: torch.tensor(value, dtype=base.dtype, device=base.device)[None]
            for name, value in frozen.items()
            if name not in self._places
        }

    @contextmanager
    def mounted(self, tensors: Mapping[str, torch.Tensor]) -> Generator[None]:
        """Let passes go through these adapters, `(P, ...)` by name."""
        for name, layer in self._layers.items():
            layer.b_POR = tensors[name + B]
            layer.a_PRI = tensors.get(name + A)
            if layer.a_PRI is None:
                layer.a_PRI = self._frozen[name + A].expand(len(layer.b_POR), -1, -1)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.a_PRI = layer.b_POR = None

    def logits(self, tokens_BT: torch.Tensor, *, last: bool = False) -> torch.Tensor:
        """`(B, T, V)`, or `(B, 1, V)` of the last position only."""
        output: Any = self.base.model(input_ids=tokens_BT, use_cache=False, logits_to_keep=int(last))
        return output.logits

    def tokens(self, windows_PBT: np.ndarray[Any, Any]) -> torch.Tensor:
        flat_BT = windows_PBT.reshape(-1, windows_PBT.shape[-1])
        return torch.tensor(flat_BT, dtype=torch.int64, device=self.base.device)

    def vectors(self, states: Sequence[State]) -> torch.Tensor:
        """`(P, N)` float32; what a state lacks is zero, as moments are before the first step."""
        rows = np.zeros((len(states), self.parameters), np.float32)
        for row, state in zip(rows, states, strict=True):
            for name, (place, _) in self._places.items():
                if name in state:
                    row[place] = state[name].ravel()
        return torch.tensor(rows, device=self.base.device)

    def states(self, theta_PN: torch.Tensor) -> list[dict[str, F32]]:
        """A copy of each vector, as tensors by name."""
        rows = theta_PN.float().cpu().numpy()
        return [
            {name: row[place].reshape(shape).copy() for name, (place, shape) in self._places.items()}
            for row in rows
        ]

    def views(self, theta_PN: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tensors of P vectors, by name, on the same memory."""
        count = len(theta_PN)
        return {name: theta_PN[:, place].view(count, *shape) for name, (place, shape) in self._places.items()}


class Slopes:
    """Losses and gradients of P adapters: the graph's leaves are views of one matrix."""

    def __init__(self, engine: Engine, adapters: int) -> None:
        self._engine = engine
        self._live_PN = torch.zeros(
            adapters, engine.parameters, dtype=engine.base.dtype, device=engine.base.device
        )
        self.leaves = engine.views(self._live_PN)
        for leaf in self.leaves.values():
            leaf.requires_grad_()

    def at(
        self, theta_PN: torch.Tensor, windows_PBT: np.ndarray[Any, Any], purpose: Purpose
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of each adapter, `(P,)`, and its gradient, `(P, N)`, both float32."""
        with torch.no_grad():
            self._live_PN.copy_(theta_PN)
        tokens_BT = self._engine.tokens(windows_PBT)
        logits_BTV = self._engine.logits(tokens_BT)
        loss_P = token_losses(logits_BTV, tokens_BT).reshape(len(theta_PN), -1).mean(dim=1)
        # Adapters share no parameter, so the gradient of the sum is each one's own.
        slopes = torch.autograd.grad(loss_P.sum(), list(self.leaves.values()))
        self._engine.meter.forward[purpose] += tokens_BT.numel()
        self._engine.meter.backward[purpose] += tokens_BT.numel()
        return loss_P.detach(), torch.cat([slope.flatten(1) for slope in slopes], dim=1).float()


def _places(specs: Sequence[TensorSpec]) -> dict[str, tuple[slice, tuple[int, ...]]]:
    """Where each tensor lies in the vector, and its shape."""
    places: dict[str, tuple[slice, tuple[int, ...]]] = {}
    first = 0
    for spec in specs:
        places[spec.name] = (slice(first, first + spec.count), spec.shape)
        first += spec.count
    return places


def _training_bytes(base: Base) -> int:
    """About what a training pass keeps of one token, from the sizes of a transformer's layers."""
    config = cast("Any", base.model.config).get_text_config()
    width = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * width)
    layers = int(config.num_hidden_layers)
    item = base.dtype.itemsize
    # A layer keeps about a dozen tensors of its width, some of them float32, and four of the inner width; the
    # head keeps the logits and their gradient.
    return layers * (width * (8 * item + 24) + inner * 4 * item) + base.vocabulary * 2 * item
