"""A warm start: this peer's first adapter, made of a LoRA in PEFT's format (`AdapterConfig.warm_start`).

Each product of the folder (`gossipllm.model.adapter.peft_folder`) becomes the factors of this peer's form that are
nearest to it: exactly where the rank suffices, else by the best approximation of that rank (Eckart and Young), with A
as near to the shared start as it can be (`merging.products`), so that later merges average like with like. Ranks and
scales may differ from module to module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gossipllm.base import MODELS
from gossipllm.config import LearnerConfig
from gossipllm.learning.merging.products.products import MergeError, Products
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import A, B, State
from gossipllm.model.adapter.peft_folder import CONFIG, read_peft
from trust.counting import counted
from trust.errors import UserMistake


@dataclass(frozen=True, eq=False)
class WarmStart:
    """An adapter of this peer's form, and how well it stands for the one in the folder."""

    state: State
    rank: int
    """The largest rank in the folder."""
    modules: int
    fresh: int
    """Modules of this peer that the folder does not adapt, which start as without it."""
    error: float
    """The norm of what is lacking over the norm of all products."""

    def line(self, own_rank: int) -> str:
        """For people."""
        text = f"warm start: {counted(self.modules, 'module')} at rank {self.rank}"
        if self.fresh:
            text += f", {self.fresh:,} more begin fresh"
        if self.rank > own_rank:
            text += (
                f"; cut to rank {own_rank}, which leaves out {100 * self.error:.2g} % of the update (by norm)"
            )
        return text


def started_warm(config: LearnerConfig, blueprint: Blueprint) -> WarmStart | None:
    """The warm start that a configuration asks for, None for none. Raises `UserMistake`."""
    folder = config.adapter.warm_start
    if not folder:
        return None
    return warm_start(Path(folder).expanduser(), blueprint, model_name=config.model.name)


def warm_start(folder: Path, blueprint: Blueprint, *, model_name: str) -> WarmStart:
    """The adapter in a folder, in the form of `blueprint`. Raises `UserMistake` where it is of another base, or has no
    such form."""
    key = "adapter.warm_start"
    adapter = read_peft(folder, key)
    _check_base(adapter.base, folder, model_name)
    products = adapter.products
    own = {name.removesuffix(A) for name in blueprint.shared if name.endswith(A)}
    for module in products:
        if module not in own:
            raise UserMistake(
                f"{key}: {folder} adapts {module}, which this peer does not (see model.name and adapter.modules)"
            )
    state, missed = dict(blueprint.shared), MergeError()
    for module, product in sorted(products.items()):
        mine = blueprint.shared[module + A], blueprint.shared[module + B]
        inputs, outputs = product.a_RI.shape[1], product.b_OR.shape[0]
        if (inputs, outputs) != (mine[0].shape[1], mine[1].shape[0]):
            raise UserMistake(
                f"{key}: {folder} adapts {module} from {inputs} to {outputs} numbers, and this model has "
                f"{mine[0].shape[1]} and {mine[1].shape[0]} there: it is of another base"
            )
        pairs, scales = (mine, (product.a_RI, product.b_OR)), (blueprint.scale, product.scale)
        (pair,), error = Products([pairs], scales).svd(np.array([[0.0, 1.0]]))
        state[module + A], state[module + B] = pair
        missed += error
    rank = max(product.rank for product in products.values())
    return WarmStart(state, rank, len(products), len(own) - len(products), missed.share)


def _check_base(theirs: str, folder: Path, model_name: str) -> None:
    """Where both are names on the hub, they must be the same; the name of a folder says nothing."""
    if any(not name or name in MODELS or _is_path(name) for name in (theirs, model_name)):
        return
    if theirs.lower() != model_name.lower():
        raise UserMistake(
            f"adapter.warm_start: {folder} is an adapter of {theirs}, and model.name is {model_name}; if they are the "
            f"same model, clear base_model_name_or_path in its {CONFIG}"
        )


def _is_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") != 1 or Path(name).exists()
