"""Models without their first numbers, which nothing needs where the weights come from files."""

from __future__ import annotations

from typing import Any, Final

from torch.overrides import TorchFunctionMode

_DRAWING: Final = frozenset({"constant_", "fill_", "kaiming_uniform_", "normal_", "uniform_", "zero_"})
"""Methods of tensors, and functions of `torch.nn.init` where these announce themselves. By name, because transformers
puts functions of its own in the place of the latter."""


class Undrawn(TorchFunctionMode):
    """Within this mode nothing draws numbers for tensors on the meta device, which hold none.

    Layers draw their first weights when they are made. On the meta device torch does that in Python, by reference
    implementations that import sympy: 60 MB and half a second for nothing.

    Not for `from_pretrained`: it computes rotations on the meta device too, which imports sympy all the same. Computing
    these on the processor instead left buffers of freed memory: transformers allocated them anew and did not fill
    them.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named: dict[str, Any] = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWING:
            tensor = args[0] if args else named["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **named)
