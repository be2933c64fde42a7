"""An adapter in all of a base for a while, and folded into the numbers of a copy of a block."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from transformers.pytorch_utils import Conv1D

from gossipllm.model.adapter.names import A, B
from gossipllm.model.adapter.sites import Site


@contextmanager
def mounted_on(
    model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], *, scale: float
) -> Generator[None]:
    """Within the context manager, the model computes with one adapter, `(1, ...)` by name."""
    sites = [module for module in model.modules() if isinstance(module, Site)]
    for site in sites:
        site.mount(tensors, scale=scale)
    try:
        yield
    finally:
        for site in sites:
            site.unmount()


@torch.no_grad()
def fold(module: torch.nn.Module) -> None:
    """Add the one adapter that is mounted on the sites within a module to the numbers of the modules that they are
    around, in place, and unmount it. No layer within may be packed in 8 or 4 bits."""
    for site in [inner for inner in module.modules() if isinstance(inner, Site)]:
        mounted = site.mounted
        if A in mounted and B in mounted:
            product_OI = site.scale * mounted[B][0].float() @ mounted[A][0].float()
            site.weight.add_(
                (product_OI.T if isinstance(site.frozen, Conv1D) else product_OI).to(site.weight)
            )
        for end, value in mounted.items():
            if end not in (A, B):
                cast("torch.Tensor", getattr(site.frozen, end[1:])).add_(value[0])
        site.unmount()
