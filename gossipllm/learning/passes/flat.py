"""Tensors of P adapters as the rows of one matrix, and back.

An adapter's tensors one after the other are a vector, and the vectors of P adapters are the rows of a matrix; the
tensors in the layers are views of it. So an operation on all parameters (clipping, AdamW, a cast) is one kernel, with
each peer's own norm, rate and step count. Where only some tensors are trained, only these are in the vector, and
gradient and moments are as short.

Axes: P adapters, N parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

from gossipllm.model.adapter.names import State
from wire.floats import F32
from wire.updates.tensors import TensorSpec


class FlatLayout:
    """Where each of these tensors lies in the vector. `count` is N."""

    def __init__(self, specs: Sequence[TensorSpec], device: torch.device) -> None:
        ends = np.cumsum([0, *(spec.count for spec in specs)]).tolist()
        self.count: int = ends[-1]
        self.places: dict[str, tuple[slice, tuple[int, ...]]] = {
            spec.name: (slice(*ends_of), spec.shape)
            for spec, ends_of in zip(specs, pairwise(ends), strict=True)
        }
        self._device = device

    def rows(self, states: Sequence[State]) -> torch.Tensor:
        """The states as rows, `(P, N)` float32. Missing tensors are zero, as moments are before the first step."""
        rows = np.zeros((len(states), self.count), np.float32)
        for row, state in zip(rows, states, strict=True):
            for name, (place, _) in self.places.items():
                if name in state:
                    row[place] = state[name].ravel()
        return torch.tensor(rows, device=self._device)

    def states(self, theta_PN: torch.Tensor) -> list[dict[str, F32]]:
        """The rows as states: copies of their tensors, by name."""
        rows = theta_PN.float().cpu().numpy()
        return [
            {name: row[place].reshape(shape).copy() for name, (place, shape) in self.places.items()}
            for row in rows
        ]

    def views(self, theta_PN: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tensors of P vectors, by name, as views of the same memory."""
        count = len(theta_PN)
        return {name: theta_PN[:, place].view(count, *shape) for name, (place, shape) in self.places.items()}

    def masks(self, masks: Sequence[Mapping[str, F32] | None]) -> torch.Tensor | None:
        """The masks as rows, `(P, N)`; tensors without a mask are 1 throughout. None where no adapter has a mask."""
        if all(mask is None for mask in masks):
            return None
        rows = self.rows([mask or {} for mask in masks])
        for row, mask in zip(rows, masks, strict=True):
            for name, (place, _) in self.places.items():
                if mask is None or name not in mask:
                    row[place] = 1
        return rows
