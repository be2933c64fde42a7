"""How much of a model an adapter covers, and what is left out and why, as a user is told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import torch
from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Left:
    """Weights that get no adapter: what they are, why not, and their share of all weights."""

    what: str
    why: str
    share: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """`kinds` counts the adapted modules by the last parts of their names; `share` is that of their weights among all
    weights of the model."""

    kinds: Mapping[str, int]
    share: float
    left: tuple[Left, ...]
    tried: bool
    """Whether a trial pass showed which modules are reached; without the weights some families cannot be tried."""

    def lines(self) -> list[str]:
        """A line for each group of weights that is left out."""
        return [
            f"left out: {left.what}, {_percent(left.share)} of the weights ({left.why})" for left in self.left
        ]


def coverage_of(
    model: PreTrainedModel,
    found: Mapping[str, torch.nn.Module],
    left: Mapping[str, str],
    *,
    still: Mapping[str, str] = MappingProxyType({}),
    below: str = "",
    tried: bool = True,
) -> Coverage:
    """`left` names modules that were asked for and would not be reached, with the reasons, and `still` such tensors of
    modules that are found. Where `below` is given, all weights whose names begin so were asked for. There must be no
    sites around the model's modules yet."""
    every = dict(cast("Iterable[tuple[str, torch.Tensor]]", model.named_parameters()))
    total = max(sum(value.numel() for value in every.values()), 1)
    adapted = {
        f"{name}.{end}": value
        for name, module in found.items()
        for end, value in module.named_parameters()
        if f"{name}.{end}" not in still
    }

    def share(values: Iterable[torch.Tensor]) -> float:
        return sum({id(value): value.numel() for value in values}.values()) / total

    missed = {name: tuple(model.get_submodule(name).parameters()) for name in left}
    missed |= {name: (model.get_parameter(name),) for name in still}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name, why in (*left.items(), *still.items()):
        groups[why].append(name)
    rest: list[Left] = [
        Left(_kinds(names), why, share(value for name in names for value in missed[name]))
        for why, names in groups.items()
    ]
    known = {id(value) for value in (*adapted.values(), *(one for some in missed.values() for one in some))}
    beyond = {name: value for name, value in every.items() if id(value) not in known}
    stacked = {name: value for name, value in beyond.items() if is_stack(name, value)}
    if stacked:
        what = "experts" if any("expert" in name for name in stacked) else "stacked layers"
        rest.append(Left(what, f"one tensor for all: {_kinds(stacked)}", share(stacked.values())))
    beside = {
        name: value
        for name, value in beyond.items()
        if below and name.startswith(below) and name not in stacked
    }
    if beside:
        rest.append(
            Left(_kinds(beside), "beside the layers, in no module of their own", share(beside.values()))
        )
    return Coverage(
        dict(sorted(Counter(name.rpartition(".")[2] for name in found).items())),
        share(adapted.values()),
        tuple(sorted(rest, key=lambda one: -one.share)),
        tried,
    )


def is_stack(name: str, value: torch.Tensor) -> bool:
    """Whether this tensor stacks the weights of several layers. Kernels of convolutions have three axes too, the last
    of a few entries."""
    return value.ndim == 3 and value.shape[0] > 1 and (min(value.shape[1:]) > 4 or "expert" in name)


def _kinds(names: Iterable[str]) -> str:
    return ", ".join(sorted({name.rpartition(".")[2] for name in names}))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
