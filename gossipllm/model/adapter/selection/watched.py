"""Modules that note how they are used in a trial pass."""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers.pytorch_utils import Conv1D

from gossipllm.model.adapter.selection.trial import POSITIONS, WINDOWS
from gossipllm.model.blocks import Linear


class Watched(torch.nn.Module):
    """Notes how a module is used in a trial. Zeros that have a gradient are added to what it gives."""

    def __init__(self, frozen: torch.nn.Module) -> None:
        super().__init__()
        self.frozen = frozen
        self.called = False
        self.read = False
        self.whole = True
        """Whether it was given all windows and positions each time, in order."""
        self.alone = True
        """Whether it maps one tensor to one; of a linear layer, by a product with its weights."""
        self.keeps = False
        """Whether it keeps tensors from one call to the next."""
        self.leaves: list[torch.Tensor] = []
        self.beside: dict[str, torch.Tensor] = {}
        """Its vectors that are neither a weight nor a bias, by name. They get gradients in the trial."""
        for name, value in list(frozen.named_parameters(recurse=False)):
            if value.ndim < 2 and value.is_floating_point() and name not in ("weight", "bias"):
                self.beside[name] = torch.nn.Parameter(value.detach())
                setattr(frozen, name, self.beside[name])

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "weight":
                self.__dict__["read"] = True
            return getattr(super().__getattr__("frozen"), name)

    def forward(self, x: torch.Tensor, *rest: Any, **options: Any) -> Any:
        made: Any = _of_one_row(self.frozen, x) if not rest and not options else None
        if made is None:
            made = self.frozen(x, *rest, **options)
        self.called = True
        # Not its parameters and buffers, which torch keeps in dictionaries.
        self.keeps = self.keeps or any(
            isinstance(value, torch.Tensor) for value in vars(self.frozen).values()
        )
        beside = [one for one in (*rest, *options.values()) if isinstance(one, torch.Tensor) and one.ndim]
        self.whole = (
            self.whole
            and all(len(one) in (1, len(x)) for one in beside)
            and (x.shape[:1] == (WINDOWS,) or x.shape[:1] == (WINDOWS * POSITIONS,))
        )
        single = not rest and not options and isinstance(made, torch.Tensor)
        self.alone = (
            self.alone
            and single
            and (not isinstance(self.frozen, Linear) or _is_product(self.frozen, x, made))
        )
        if isinstance(made, tuple):
            return tuple(self._with_leaf(one) for one in cast("tuple[Any, ...]", made))
        return self._with_leaf(made)

    def _with_leaf(self, made: Any) -> Any:
        if not isinstance(made, torch.Tensor) or not made.is_floating_point() or not made.ndim:
            return made
        leaf = torch.zeros(made.shape[-1], dtype=made.dtype, device=made.device, requires_grad=True)
        self.leaves.append(leaf)
        return made + leaf


def _of_one_row(linear: torch.nn.Module, x: torch.Tensor) -> torch.Tensor | None:
    """What a linear layer gives whose weight is one row in place of all, as in a trial without weights; None for other
    layers. The product itself would first copy the row as often as there are outputs: 67 MB in a Llama of 1 B."""
    if type(linear) is not torch.nn.Linear or linear.weight.stride(0) != 0:
        return None
    one = (x @ linear.weight[0])[..., None].expand(*x.shape[:-1], len(linear.weight))
    bias = cast("torch.Tensor | None", linear.bias)
    return one if bias is None else one + bias


def _is_product(linear: torch.nn.Module, x: torch.Tensor, made: torch.Tensor) -> bool:
    """Whether a linear layer gave x W' + b; true of other modules. A family may derive layers from torch's that do
    something else."""
    if not isinstance(linear, Linear) or type(linear) in (torch.nn.Linear, Conv1D):
        return True
    if not linear.weight.is_floating_point():
        return made.shape[:-1] == x.shape[:-1]  # quantised: its numbers are not the weights
    plain = torch.nn.functional.linear(x, linear.weight.detach(), linear.bias)
    if made.shape != plain.shape:
        return False
    made, plain = made.detach(), plain.detach()
    close = torch.allclose(made, plain, rtol=0.02, atol=0.02 * float(plain.abs().max()))
    return close or not bool(torch.isfinite(made).all())
