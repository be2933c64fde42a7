"""Linear layers whose frozen weights are held in 8 or 4 bits, and gradients through them.

Eight bits: one scale for each output. Four bits: one half-precision scale for each group of 64 inputs and two weights
in a byte, 4.25 bits a weight; the group's largest weight is at level -8 as in ggml's Q4_0, so that all sixteen levels
are used. Weights are packed a slice at a time, and widened a slice at a time in the forward pass and again in the
backward pass, so that autograd keeps packed weights only. Only the input has a gradient.

Axes: N rows, I inputs, O outputs; G groups of 64 inputs, the last filled up with zeros; H half a group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Final, cast

import torch
from transformers.pytorch_utils import Conv1D

from gossipllm.model.blocks import Linear, linears_of, replace

GROUP: Final = 64
"""Inputs that share a scale in four bits, as in bitsandbytes; 32 would be more exact and take 4.5 bits a weight."""
_SLICE: Final = 2**21
"""Weights that are packed or widened at a time: 8 MB in float32 for a layer of any size. Guess."""


class PackedLinear(torch.nn.Module, ABC):
    """A frozen linear layer that holds packed weights. It shares the original layer's bias."""

    bias: torch.nn.Parameter | None

    def __init__(
        self, bias: torch.nn.Parameter | None, inputs: int, outputs: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.bias = bias
        self.dtype = dtype
        self.inputs = inputs
        self.outputs = outputs

    @abstractmethod
    def wide(self, rows: slice, dtype: torch.dtype) -> torch.Tensor:
        """`(rows, I)`: the weights of these outputs, not yet multiplied by `after`."""

    def after(self, rows: slice) -> torch.Tensor | None:
        """A factor for each of these outputs, where multiplying outputs is cheaper than multiplying weights."""
        del rows

    def whole(self, dtype: torch.dtype) -> torch.Tensor:
        """`(O, I)`: all weights of the layer, scaled."""
        every = slice(0, self.outputs)
        weight_OI, scale_O = self.wide(every, dtype), self.after(every)
        return weight_OI if scale_O is None else weight_OI * scale_O[:, None].to(dtype)

    @property
    def weight(self) -> torch.Tensor:
        """All weights in the type that the layer had before, for families that compute with them past the layer. They
        are widened on each call."""
        return self.whole(self.dtype)

    def slices(self) -> Iterator[slice]:
        step = max(1, _SLICE // self.inputs)
        return (slice(first, min(first + step, self.outputs)) for first in range(0, self.outputs, step))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = cast("torch.Tensor", cast("Any", _Product).apply(x.reshape(-1, self.inputs), self))
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        return y.view(*x.shape[:-1], self.outputs)


class Int8Linear(PackedLinear):
    """`w_OI` of -127..127 and a float32 scale for each output."""

    w_OI: torch.Tensor
    scale_O: torch.Tensor

    def __init__(self, weight_OI: torch.Tensor, bias: torch.nn.Parameter | None) -> None:
        outputs, inputs = weight_OI.shape
        super().__init__(bias, inputs, outputs, weight_OI.dtype)
        self.register_buffer("scale_O", weight_OI.new_empty(outputs, dtype=torch.float32))
        self.register_buffer("w_OI", weight_OI.new_empty(outputs, inputs, dtype=torch.int8))
        for rows in self.slices():
            wide = weight_OI[rows].float()
            scale = wide.abs().amax(dim=1) / 127
            self.scale_O[rows] = scale
            self.w_OI[rows] = (wide / _divisor(scale)[:, None]).round_().to(torch.int8)

    def wide(self, rows: slice, dtype: torch.dtype) -> torch.Tensor:
        # Exact: bfloat16 holds integers up to 256. The scale follows in `after`, in float32.
        return self.w_OI[rows].to(dtype)

    def after(self, rows: slice) -> torch.Tensor:
        return self.scale_O[rows]


class Int4Linear(PackedLinear):
    """`w_OGH` bytes: the low four bits are a weight of the group's first half, the high four bits one of its second."""

    w_OGH: torch.Tensor
    scale_OG: torch.Tensor

    def __init__(self, weight_OI: torch.Tensor, bias: torch.nn.Parameter | None) -> None:
        outputs, inputs = weight_OI.shape
        super().__init__(bias, inputs, outputs, weight_OI.dtype)
        groups = -(-inputs // GROUP)
        self.register_buffer("scale_OG", weight_OI.new_empty(outputs, groups, dtype=torch.float16))
        self.register_buffer("w_OGH", weight_OI.new_empty(outputs, groups, GROUP // 2, dtype=torch.uint8))
        for rows in self.slices():
            filled = torch.nn.functional.pad(weight_OI[rows].float(), (0, -inputs % GROUP))
            grouped = filled.view(len(filled), -1, GROUP)
            # The largest weight with its sign: divided by -8 it gives a scale of either sign, so that this weight is at
            # level -8 exactly. Levels run from -8 to 7; a positive scale would leave -8 unused in half of the groups.
            peak_OG1 = grouped.gather(-1, grouped.abs().argmax(dim=-1, keepdim=True))
            scale_OG = (peak_OG1.squeeze(-1) / -8).to(torch.float16)
            self.scale_OG[rows] = scale_OG
            levels = (grouped / _divisor(scale_OG.float())[..., None]).round_().clamp_(-8, 7).add_(8)
            levels = levels.to(torch.uint8)
            low, high = levels[..., : GROUP // 2], levels[..., GROUP // 2 :]
            self.w_OGH[rows] = low | (high << 4)

    def wide(self, rows: slice, dtype: torch.dtype) -> torch.Tensor:
        packed = self.w_OGH[rows]
        grouped = torch.empty(*packed.shape[:2], GROUP, dtype=dtype, device=packed.device)
        grouped[..., : GROUP // 2] = packed & 15
        grouped[..., GROUP // 2 :] = packed >> 4
        grouped.sub_(8).mul_(self.scale_OG[rows].to(dtype)[..., None])
        return grouped.flatten(1)[:, : self.inputs]


def pack(module: torch.nn.Module, bits: int) -> None:
    """Replace every linear layer within `module` by a packed one, one at a time, so that memory holds at most one layer
    both wide and packed."""
    for name, linear in linears_of(module).items():
        replace(module, name, packed(linear, bits))


def packed(linear: Linear, bits: int) -> PackedLinear:
    """`linear` in 8 or 4 bits."""
    kind = {8: Int8Linear, 4: Int4Linear}[bits]
    weight = linear.weight.detach()
    # `Conv1D`, GPT-2's linear layer, stores its weights as (inputs, outputs).
    return kind(weight.T if isinstance(linear, Conv1D) else weight, linear.bias)


def packed_in(module: torch.nn.Module) -> list[PackedLinear]:
    """All packed layers within a module."""
    return [inner for inner in module.modules() if isinstance(inner, PackedLinear)]


def _divisor(scale: torch.Tensor) -> torch.Tensor:
    """The scale, with 1 in place of 0: there all weights are zero, and stay zero."""
    return torch.where(scale == 0, 1.0, scale)


class _Product(torch.autograd.Function):
    """x W', with W widened slice by slice in both passes. An ordinary product would keep the wide W for backward."""

    @staticmethod
    def forward(ctx: Any, x_NI: torch.Tensor, layer: PackedLinear) -> torch.Tensor:
        ctx.layer = layer
        y_NO = x_NI.new_empty(len(x_NI), layer.outputs)
        for rows in layer.slices():
            torch.mm(x_NI, layer.wide(rows, x_NI.dtype).T, out=y_NO[:, rows])
            if (scale := layer.after(rows)) is not None:
                y_NO[:, rows] *= scale
        return y_NO

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None]:
        (slope_NO,) = slopes
        layer: PackedLinear = ctx.layer
        slope_NI = slope_NO.new_zeros(len(slope_NO), layer.inputs)
        for rows in layer.slices():
            part = slope_NO[:, rows]
            if (scale := layer.after(rows)) is not None:
                part = part * scale.to(part.dtype)
            slope_NI.addmm_(part, layer.wide(rows, part.dtype))
        return slope_NI, None
