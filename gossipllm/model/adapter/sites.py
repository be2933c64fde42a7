"""Sites: modules around the modules of a frozen base that compute with P mounted adapters, or with none.

The windows of a pass are P equal groups, one for each adapter. So one pass through the base trains P peers, or measures
P candidate merges: the base's weights are read once, and P thin products become one batched product. A device with one
adapter runs the same code with P = 1, so that a device does what a simulation shows.

A site finds its tensors by its own name and keeps no other state, so that copies of a model have working sites.

Axes: P adapters, N rows of one adapter (windows by positions); R rank, I inputs, O outputs of a module: `lora_A` is RI,
`lora_B` is OR, the update scale * B A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from gossipllm.model.adapter.dropout import Dropout, dropped
from gossipllm.model.adapter.names import BIAS, WEIGHT, A, B
from gossipllm.model.adapter.norms import constant, neutral_weight


class Site(torch.nn.Module):
    """A frozen module and the P adapters mounted on it, or none. `name` is the frozen module's name in the base."""

    ends: tuple[str, ...]
    """The ends of the names of this site's tensors, after the module's name."""

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__()
        self.name = name
        self.frozen = frozen
        self.scale = 1.0
        self.mounted: dict[str, torch.Tensor] = {}

    @property
    def weight(self) -> torch.Tensor:
        return cast("torch.Tensor", self.frozen.weight)

    def __getattr__(self, name: str) -> Any:
        """Every attribute of the frozen module: families read types, widths and flags off their layers."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return getattr(super().__getattr__("frozen"), name)

    def mount(self, tensors: Mapping[str, torch.Tensor], *, scale: float) -> None:
        """Compute with this site's tensors among `tensors`, `(P, ...)` by full name, from now on; with none of them, as
        the frozen module alone. `scale` multiplies the product of two factors."""
        self.scale = scale
        self.mounted = {end: tensors[self.name + end] for end in self.ends if self.name + end in tensors}

    def unmount(self) -> None:
        self.mounted = {}


class LoraSite(Site):
    """LoRA on a linear layer: y = frozen(x) + scale * x A' B'. `dropouts`, one for each adapter, are applied to the x
    that goes into A; none while nothing is trained."""

    ends = (A, B)

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__(name, frozen)
        self.dropouts: Sequence[Dropout] = ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.frozen(x)
        a_PRI, b_POR = self.mounted.get(A), self.mounted.get(B)
        if a_PRI is None or b_POR is None:
            return y
        if a_PRI.dtype != x.dtype:  # some families keep a few layers in float32
            a_PRI, b_POR = a_PRI.to(x.dtype), b_POR.to(x.dtype)
        x_PNI = _grouped(x, a_PRI)
        if self.dropouts:
            x_PNI = dropped(x_PNI, self.name, self.dropouts)
        # Rank first: two thin products instead of the (O, I) matrix B A for each adapter.
        low_PNR = torch.bmm(x_PNI, a_PRI.transpose(1, 2))
        return torch.baddbmm(_grouped(y, a_PRI), low_PNR, b_POR.transpose(1, 2), alpha=self.scale).view(
            y.shape
        )


class LinearSite(Site):
    """Differences on a linear layer: y = frozen(x) + x dW' + db.

    In bfloat16 the differences are not added to the frozen weight: a small one would be lost in rounding. In float32
    they are, as in the exported model: three products in a step instead of five.
    """

    ends = (WEIGHT, BIAS)

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__(name, frozen)
        self.outputs_first = not isinstance(frozen, Conv1D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias_PO = self.mounted.get(WEIGHT), self.mounted.get(BIAS)
        # Not of packed weights: made whole for each product, they gain nothing.
        plain = type(self.frozen) in (torch.nn.Linear, Conv1D) and self.weight.dtype == torch.float32
        if weight is not None and plain and x.dtype == weight.dtype == torch.float32:
            return self._of_sums(x, weight, bias_PO)
        y: torch.Tensor = self.frozen(x)
        shape = y.shape
        if weight is not None:
            weight = weight.to(x.dtype)  # some families keep a few layers in float32
            weight_PIO = weight.transpose(1, 2) if self.outputs_first else weight
            y = torch.baddbmm(_grouped(y, weight), _grouped(x, weight), weight_PIO)
        if bias_PO is not None:
            y = _grouped(y, bias_PO) + bias_PO[:, None]
        return y.view(shape)

    def _of_sums(self, x: torch.Tensor, weight: torch.Tensor, bias_PO: torch.Tensor | None) -> torch.Tensor:
        sums = self.weight + weight
        y_PNO = torch.bmm(_grouped(x, sums), sums.transpose(1, 2) if self.outputs_first else sums)
        return _biased(y_PNO, self.frozen, bias_PO).view(*x.shape[:-1], -1)


class EmbeddingSite(Site):
    """Differences on a table of embeddings: y = frozen(tokens) + the same of a table of differences, whatever a family
    multiplies embeddings by. A table that is followed by layers of its own, such as a norm, is linear in no weight: it
    is called with the sums, in float32 and rounded once."""

    ends = (WEIGHT,)

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__(name, frozen)
        self.linear = next(frozen.children(), None) is None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        weight_PVO = self.mounted.get(WEIGHT)
        if weight_PVO is None:
            return self.frozen(tokens)
        kept = {} if self.linear else {name: value.float() for name, value in self.frozen.named_parameters()}
        made: list[torch.Tensor] = []
        for weight_VO, part in zip(weight_PVO, tokens.chunk(len(weight_PVO)), strict=True):
            table_VO = weight_VO if self.linear else self.weight.float() + weight_VO
            made.append(functional_call(self.frozen, kept | {"weight": table_VO}, (part,)))
        y = torch.cat(made).to(self.weight.dtype)
        return self.frozen(tokens) + y if self.linear else y


class NormSite(Site):
    """Differences on a norm over the last axis: y = normed(x) (w + dw) + b + db, where normed is the norm without its
    weight and bias.

    Computed in float32 and rounded once, because a difference of less than half a step of bfloat16 would vanish in a
    product that is rounded before. Some families multiply by the weight, others (Gemma) by 1 + the weight; the output
    with a weight of zero tells which.
    """

    ends = (WEIGHT, BIAS)

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__(name, frozen)
        self.neutral = neutral_weight(frozen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight_PO, bias_PO = self.mounted.get(WEIGHT), self.mounted.get(BIAS)
        if weight_PO is None and bias_PO is None:
            return self.frozen(x)
        either = cast("torch.Tensor", bias_PO if weight_PO is None else weight_PO)
        scale_O = self.weight.float() + (1 - self.neutral)
        without = constant(self.frozen, self.neutral, x.device)
        normed = _grouped(functional_call(self.frozen, without, (x.float(),)), either)
        y = normed * (scale_O if weight_PO is None else scale_O + weight_PO[:, None])
        return _biased(y, self.frozen, bias_PO).to(x.dtype).view(x.shape)


class WholeSite(Site):
    """Differences on any other module that holds its weights itself, such as experts that are stored as one tensor, or
    a router: the module with the sums of its tensors and the differences, for one adapter after the other.

    Computed in float32 and rounded once, as `NormSite` does. Tensors among the arguments that are as long as the first
    one are cut into the adapters' rows.
    """

    def __init__(self, name: str, frozen: torch.nn.Module) -> None:
        super().__init__(name, frozen)
        self.ends = tuple(f".{one}" for one, _ in frozen.named_parameters())

    def forward(self, x: torch.Tensor, *rest: Any, **options: Any) -> Any:
        if not self.mounted:
            return self.frozen(x, *rest, **options)
        adapters, rows = len(next(iter(self.mounted.values()))), len(x)

        def part(value: Any, adapter: int) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if value.ndim and len(value) == rows:
                value = value.chunk(adapters)[adapter]
            return value.float() if value.is_floating_point() else value

        made: list[Any] = []
        for adapter in range(adapters):
            sums = {
                name: value.float() + self.mounted[f".{name}"][adapter]
                if f".{name}" in self.mounted
                else value.float()
                for name, value in self.frozen.named_parameters()
            }
            given = tuple(part(value, adapter) for value in (x, *rest))
            named = {name: part(value, adapter) for name, value in options.items()}
            made.append(cast("Any", functional_call)(self.frozen, sums, given, named))
        return _joined(made, x.dtype)


def _joined(made: Sequence[Any], dtype: torch.dtype) -> Any:
    """The results of several calls as one, tensor by tensor."""
    first = made[0]
    if isinstance(first, tuple):
        return tuple(_joined(some, dtype) for some in zip(*made, strict=True))
    if not isinstance(first, torch.Tensor):
        return first
    whole = torch.cat(list(made))
    return whole.to(dtype) if whole.is_floating_point() else whole


def _biased(y_PNO: torch.Tensor, frozen: torch.nn.Module, bias_PO: torch.Tensor | None) -> torch.Tensor:
    """With the module's bias and the differences from it, each where there is one."""
    bias_O = cast("torch.Tensor | None", getattr(frozen, "bias", None))
    for bias in (bias_O, None if bias_PO is None else bias_PO[:, None]):
        if bias is not None:
            y_PNO = y_PNO + bias
    return y_PNO


def _grouped(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`(P, N, last axis)`, P as in `like`."""
    return values.reshape(like.shape[0], -1, values.shape[-1])
