"""Where adapters stand: modules around those of a frozen base, each with room for P adapters or none.

The windows of a pass are P equal groups, one for each adapter. So P peers train, or P candidate merges are measured,
in one pass through the base: its weights are read once, and P thin products become one batched one. A device with one
adapter runs the same code with P = 1, so that what a simulation shows is what a device does.

A site finds its tensors by its own name and keeps nothing elsewhere, so that a copy of a model has sites that work.

Axes: P adapters, N rows of one adapter (windows by positions); R rank, I inputs, O outputs of a module: `lora_A` is RI,
`lora_B` is OR, the update scale * B A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from gossipllm.model.adapter.dropout import Dropout, dropped
from gossipllm.model.adapter.names import BIAS, WEIGHT, A, B


class Site(torch.nn.Module):
    """A frozen module with P adapters beside it, or none while nothing is mounted. `name` is the frozen module's, as
    the base calls it."""

    ends: ClassVar[tuple[str, ...]]
    """What follows the name in those of the tensors that belong here."""

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__()
        self.name = name
        self.frozen = frozen
        self.scale = 1.0
        self.mounted: dict[str, torch.Tensor] = {}

    @property
    def weight(self) -> torch.Tensor:
        """The base's own: transformers looks at the weight of some layers."""
        return cast("torch.Tensor", self.frozen.weight)

    def mount(self, tensors: Mapping[str, torch.Tensor], *, scale: float) -> None:
        """Let passes go through what of these tensors, `(P, ...)` by full name, belongs here: nothing, and the base
        is what it was. `scale` is that of the product of two factors."""
        self.scale = scale
        self.mounted = {end: tensors[self.name + end] for end in self.ends if self.name + end in tensors}

    def unmount(self) -> None:
        self.mounted = {}


class LoraSite(Site):
    """Beside a linear layer: y = frozen(x) + scale * x A' B'. `dropouts`, one for each adapter, thin out the x that
    goes into A; none while nothing is trained."""

    ends = (A, B)

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__(name, frozen)
        self.dropouts: Sequence[Dropout] = ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.frozen(x)
        a_PRI, b_POR = self.mounted.get(A), self.mounted.get(B)
        if a_PRI is None or b_POR is None:
            return y
        x_PNI = _grouped(x, a_PRI)
        if self.dropouts:
            x_PNI = dropped(x_PNI, self.name, self.dropouts)
        low_PNR = torch.bmm(x_PNI, a_PRI.transpose(1, 2))
        return torch.baddbmm(_grouped(y, a_PRI), low_PNR, b_POR.transpose(1, 2), alpha=self.scale).view(
            y.shape
        )


class LinearSite(Site):
    """Beside a linear layer: y = frozen(x) + x dW' + db.

    The differences go apart from the frozen layer: a small one would be lost in the rounding of a bfloat16 weight.
    """

    ends = (WEIGHT, BIAS)

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__(name, frozen)
        self.outputs_first = not isinstance(frozen, Conv1D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.frozen(x)
        shape, weight, bias_PO = y.shape, self.mounted.get(WEIGHT), self.mounted.get(BIAS)
        if weight is not None:
            weight_PIO = weight.transpose(1, 2) if self.outputs_first else weight
            y = torch.baddbmm(_grouped(y, weight), _grouped(x, weight), weight_PIO)
        if bias_PO is not None:
            y = _grouped(y, bias_PO) + bias_PO[:, None]
        return y.view(shape)


class NormSite(Site):
    """Beside a norm over the last axis: y = normed(x) (w + dw) + b + db, where normed is the norm without its weight
    and bias.

    In float32, and rounded once: of a product that is rounded already, a difference of less than half a step
    of bfloat16 would leave nothing. Families differ in whether a norm multiplies by its weight or by 1 + its weight;
    which it is shows where the weight is zero.
    """

    ends = (WEIGHT, BIAS)

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__(name, frozen)
        self.neutral = _neutral_weight(frozen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight_PO, bias_PO = self.mounted.get(WEIGHT), self.mounted.get(BIAS)
        if weight_PO is None and bias_PO is None:
            return self.frozen(x)
        either = cast("torch.Tensor", bias_PO if weight_PO is None else weight_PO)
        scale_O = self.weight.float() + (1 - self.neutral)
        constant = _constant(self.frozen, self.neutral, x.device)
        normed = _grouped(functional_call(self.frozen, constant, (x.float(),)), either)
        y = normed * (scale_O if weight_PO is None else scale_O + weight_PO[:, None])
        bias_O = cast("torch.Tensor | None", getattr(self.frozen, "bias", None))
        for bias in (bias_O, None if bias_PO is None else bias_PO[:, None]):
            if bias is not None:
                y = y + bias
        return y.to(x.dtype).view(x.shape)


def _grouped(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`(P, N, last axis)`, P as in `like`."""
    return values.reshape(like.shape[0], -1, values.shape[-1])


def _neutral_weight(norm: torch.nn.Module) -> float:
    """The weight by which a norm does nothing but normalise: 1, or 0 in families that add 1 to it."""
    width = cast("torch.Tensor", norm.weight).shape[-1]
    probe = torch.linspace(1, 2, width)[None]
    with torch.no_grad():
        shut: Any = functional_call(norm, _constant(norm, 0.0, probe.device), (probe,))
    return 0.0 if shut.any() else 1.0


def _constant(norm: torch.nn.Module, weight: float, device: torch.device) -> dict[str, torch.Tensor]:
    """All parameters of a norm, float32: its weight everywhere of this value, its bias 0."""
    return {
        name: torch.full(value.shape, weight if name == "weight" else 0.0, device=device)
        for name, value in norm.named_parameters()
    }
